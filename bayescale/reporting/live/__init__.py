"""The live part of the report: the numbers that its page computes with, and the page itself.

candidates    the candidate settings that the page carries
packed_draws  draws of smooth quantities in few numbers
task_data     the draws and the runs of one task
rendering     templates, scripts and numbers put together, under a policy that forbids every connection

The templates and the scripts lie in the folder `page` of `bayescale.reporting`.
"""
