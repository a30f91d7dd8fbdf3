"""Posterior draws, what they predict, and the file that keeps them.

posterior         the `Posterior` class: draws, predictions, saving and loading
predictive        the posterior predictive distribution of new runs and its quantiles
extrapolation     times to returns between and beyond the fitted thresholds
ceilings          the maximum return of each task
netcdf            write and read groups of arrays in one netCDF file
prediction_table  the rows and columns that every method's predictions share
"""
