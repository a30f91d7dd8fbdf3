"""Plots and the report.

style              axes, colours and number formats that all plots share
frontier_plot      plot of data against compute over UTD
frontier_runs      runs on that plot, with their medians
frontier_legend    its legend and title
plots              plots of the response surface, the learning curves and the budget
diagnostic_plots   plots of the sampler's convergence
calibration_plots  plots of rank histograms
live               the numbers of the live report, and its page
report_checks      figures on how far to trust a fit
report             the live HTML report

The folder page holds its templates, its scripts in the order numbers, decisions, words, charts, evidence, controls, and
in vendor the two plotting libraries that it embeds.
"""
