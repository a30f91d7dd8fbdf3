"""Plots and the report.

style              axes and colours that all plots share
plots              plots of the frontier, the response surface and the checks
calibration_plots  plots of rank histograms
report             the HTML report; report.html.jinja is its template
"""
