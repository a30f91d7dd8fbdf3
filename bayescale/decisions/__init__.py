"""Turn a posterior into advice: which setting to run, at which cost, and which experiment to buy next.

default_prices      the price of an env step that commands and functions assume
utility             prices, costs, and risk measures of a cost
candidates          ranges and grids of the settings that decisions choose from
cheapest_settings   the setting of least risk at each UTD
records             the chosen setting with its costs, and the basis of a decision
law_optima          each draw's best batch size and learning rate by the law
frontier            env steps and flops over UTD, at the cheapest setting of each
performance         the return that a run reaches within a number of env steps or a budget
allocation          the setting of least expected cost, or of the highest return within a budget
budget_path         the budget-optimal UTD and model size as a function of the return
portfolio           one budget split over several tasks
experiments         the runs to do next
"""
