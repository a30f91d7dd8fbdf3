"""Plan runs: the runs that would improve a decision the most, and the best settings to run at every UTD.

sample_information  how much the results of candidate runs are worth to a decision
next_experiments    the runs to buy next, by this worth per cost
recommendations     the cheapest setting and the run length at every UTD and model size
"""
