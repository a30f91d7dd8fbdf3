"""Checks of models and posteriors, on simulated runs and on runs that a fit has not seen.

simulate           runs of a known law, and the curves and crossings that an experiment would record of them
calibration        fits to data simulated from a model's priors; coverage of credible and predictive intervals
sbc                simulation-based calibration: rank tests and rank histograms
predictive_checks  posterior predictive checks
leave_one_out      leave-one-configuration-out log scores by importance sampling
sums_of_squares    within-configuration and between-configuration sums of squares
scores             scores of predictions on held-out runs
design_check       what a planned sweep can tell before it is run
"""
