"""Learning curves, validated, and the env steps at which each run first reaches each threshold.

tables          read a table from a file and check its columns
tasks           name a task by its suite, algorithm and `env_id`
thresholds      check thresholds and choose default ones
curves          read, validate and write learning-curve tables
crossings       find where each run's monotone return curve first reaches each threshold
configurations  check tables of configurations (task, UTD, batch size, learning rate, model size)
output_files    check and write output files
"""
