"""Training of an ensemble, from settings to learning curves.

ensembles    group the runs of a plan that can train together
loop         act, store, update, evaluate
n_step       turn env steps into transitions over n steps
replay       store transitions and draw batches
evaluation   evaluate policies in separate environments
stopping     decide when a run may stop early
checkpoints  save and restore the state of an ensemble
state        collect the state of learners, replay buffers and random streams
results      the evaluations, learning curve, agent and status of each run
"""
