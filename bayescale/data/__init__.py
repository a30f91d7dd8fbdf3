"""Learning curves, and the env steps at which each run first reaches each threshold.

The modules, in the order of the flow:

tables          read tables from files and check their columns
tasks           name a task by its suite, algorithm and `env_id`
return_scale    read return scales and normalise returns
curves          read, validate and write learning-curve tables
thresholds      check thresholds and choose default ones
crossings       find where each run's monotone return curve first reaches each threshold
observations    give the bounds on the log run length and the observation kind of each crossing
configurations  check tables of configurations (task, UTD, batch size, learning rate, model size)
output_files    check and write output files
"""
