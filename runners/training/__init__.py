"""Training of an ensemble, from settings to learning curves.

loop         act, store, update, evaluate
ensembles    group the runs of a plan that can train together
replay       replay buffers
n_step       transitions over several steps
evaluation   evaluate policies on environments of their own
stopping     decide when a run may stop early
checkpoints  save and restore the state of an ensemble
state        collect the state of learners, replay buffers and random streams
results      learning curves and the status of finished runs
"""
