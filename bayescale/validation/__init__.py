"""Checks of models and posteriors, on simulated runs and on runs that a fit has not seen.

simulate           simulate runs of a known law, and the crossings and curves that an experiment would record of them
calibration        fit data simulated from a model's priors; coverage of credible and predictive intervals
sbc                simulation-based calibration: rank tests and rank histograms
predictive_checks  posterior predictive checks of each task
sums_of_squares    the sums of squares that the predictive checks compare
leave_one_out      leave-one-configuration-out log scores by importance sampling
scores             score predictions on held-out runs
design_check       check what a planned sweep would tell
plan_variants      the plan and its changes that a design check compares, and their simulated runs
expected_posterior approximate posteriors of simulated sweeps, and what a decision needs of them
design_verdict     the result of a design check in three sentences
"""
