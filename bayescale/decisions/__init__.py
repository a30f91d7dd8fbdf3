"""Advice from a posterior: which setting to run, at which cost, and which experiment to buy next.

candidates        grids of candidate settings within the swept ranges
utility           prices, and cost under a risk measure
frontier          data against compute over UTD, at the best batch size and learning rate
performance       the return that a run reaches within given env steps or a budget
allocation        the setting of least expected cost, or of the highest return within a budget
portfolio         one budget shared by several tasks
next_experiments  the runs whose results are worth most to the next decision, per cost
"""
