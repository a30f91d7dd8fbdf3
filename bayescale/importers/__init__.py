"""Read learning curves from the logs of other tools, as validated learning-curve tables.

tensorboard        read a scalar series from TensorBoard event files
event_files        read the events of one event file, and refuse damaged files
csv_tables         read any long or wide table by a mapping of its columns
qscaled            read the arrays of the package qscaled, in folders and zips
mapping_file       read and write a mapping as TOML
run_logs           runs as trackers log them, and the mapping to a table
curve_table        apply a mapping to runs, and return the validated table
stable_baselines3  read the evaluations.npz files of Stable-Baselines3
sb3_logs           read the folders of Stable-Baselines3 and its zoo
zoo_settings       read args.yml and config.yml of rl-baselines3-zoo
rllib              read the trial folders of Ray Tune and RLlib
spinningup         read the folders of Spinning Up
run_folders        find the folders of runs and read their text files
guesses            guess which keys hold the columns
"""

from bayescale.importers.csv_tables import read_csv_tables
from bayescale.importers.qscaled import read_qscaled
from bayescale.importers.rllib import read_rllib
from bayescale.importers.sb3_logs import read_sb3
from bayescale.importers.spinningup import read_spinningup
from bayescale.importers.stable_baselines3 import read_stable_baselines3
from bayescale.importers.tensorboard import read_tensorboard

__all__ = [
    "read_csv_tables",
    "read_qscaled",
    "read_rllib",
    "read_sb3",
    "read_spinningup",
    "read_stable_baselines3",
    "read_tensorboard",
]
