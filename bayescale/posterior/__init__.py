"""Keep posterior draws, predict new runs from them, and save and load them.

posterior         the `Posterior` class: draws, predictions, saving and loading
predictive        the posterior predictive distribution of a new run's length, and its quantiles
extrapolation     run lengths to returns between and beyond the fitted thresholds
ceilings          the highest return that each task allows
prediction_table  the rows and columns that every method's predictions share
netcdf            groups of arrays in one netCDF file
"""
