"""Plots and the report.

style              axes, colours and number formats that all plots share
plots              plots of the frontier, the response surface and the learning curves
diagnostic_plots   plots of the sampler's convergence
calibration_plots  plots of rank histograms
report             the HTML report; report.html.jinja is its template
"""
