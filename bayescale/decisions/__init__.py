"""Turn a posterior into advice: which setting to run, at which cost, and which experiment to buy next.

default_prices      the price of an env step that commands and functions assume
utility             prices, costs, and risk measures of a cost
frontier            env steps and flops over UTD, at the best batch size and learning rate
candidates          grids of candidate settings within the swept ranges
performance         the return that a run reaches within a number of env steps or a budget
records             the chosen setting with its costs, and the basis of a decision
allocation          the setting of least expected cost, or of the highest return within a budget
budget_path         the budget-optimal UTD and model size as a function of the return
portfolio           one budget split over several tasks
sample_information  how much the results of candidate runs are worth to a decision
next_experiments    the runs to buy next, by this worth per cost
"""
