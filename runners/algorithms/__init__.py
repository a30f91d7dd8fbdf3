"""Algorithms: each trains the agents of an ensemble at once.

learner        the Protocol that an algorithm fulfils, and a guide to adding one
registry       the dict of learner classes by name
sac            soft actor-critic
bro            BRO: soft actor-critic with large regularised critics
pql            parallel Q-learning
optimism       the optimistic exploration policy of BRO
policy         the tanh-Gaussian policy
normalization  running means and variances of observations
quantiles      quantile regression of returns
"""
