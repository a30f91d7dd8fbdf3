"""Plots and the report.

style              axes, colours and number formats that all plots share
frontier_plot      plot of data against compute over UTD
plots              plots of the response surface, the learning curves and the budget
diagnostic_plots   plots of the sampler's convergence
calibration_plots  plots of rank histograms
packed_draws       draws of smooth quantities in few numbers, for a page to carry
live_candidates    the candidate settings that the report carries
live_data          the draws and runs that the report computes with
report_checks      figures on how far to trust a fit
report_page        templates, scripts and numbers put together, under a policy that forbids every connection
report             the live HTML report

The folder page holds its templates, its scripts in the order numbers, decisions, words, charts, evidence, controls, and
in vendor the two plotting libraries that it embeds.
"""
