"""Keep posterior draws, predict new runs from them, and save and load them.

posterior         the `Posterior` class: draws, predictions and saving
summary           what a terminal or a notebook shows of a posterior
saved_fits        loading a saved posterior
predictive        the posterior predictive distribution of a new run's length, and its quantiles
extrapolation     run lengths to returns between and beyond the fitted thresholds
ceilings          the highest return that each task allows
swept_ranges      how far a configuration lies outside the swept range of its task
outcomes          what the fitted runs of each task and setting achieved
identifiability   what the runs and what the prior determine of the law, and why chains have not converged
prediction_table  the rows and columns that every method's predictions share
netcdf            groups of arrays in one netCDF file
"""
