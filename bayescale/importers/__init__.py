"""Read learning curves from the logs of other tools, as validated learning-curve tables.

tensorboard        read a scalar series from TensorBoard event files
event_files        read the events of one event file, and refuse damaged files
qscaled            read the arrays of the package qscaled, in folders and zips
mapping_file       read and write a mapping as TOML
run_logs           runs as trackers log them, and the mapping to a table
curve_table        apply a mapping to runs, and return the validated table
stable_baselines3  read the evaluations.npz files of Stable-Baselines3
"""

from bayescale.importers.qscaled import read_qscaled
from bayescale.importers.stable_baselines3 import read_stable_baselines3
from bayescale.importers.tensorboard import read_tensorboard

__all__ = ["read_qscaled", "read_stable_baselines3", "read_tensorboard"]
