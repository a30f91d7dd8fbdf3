"""Read learning curves from the logs of other tools, as validated learning-curve tables.

kinds         one file per tracker or format
run_folders   find the folders of runs and read their text files
run_logs      runs as trackers log them, and the mapping to a table
guesses       guess which keys hold the columns
mapping_file  read and write a mapping as TOML
path_patterns read settings from the names of runs
curve_table   apply a mapping to runs, and return the validated table
"""

from bayescale.importers.kinds.csv_tables import read_csv_tables
from bayescale.importers.kinds.qscaled import read_qscaled
from bayescale.importers.kinds.rllib import read_rllib
from bayescale.importers.kinds.sb3_logs import read_sb3
from bayescale.importers.kinds.spinningup import read_spinningup
from bayescale.importers.kinds.stable_baselines3 import read_stable_baselines3
from bayescale.importers.kinds.tensorboard import read_tensorboard

__all__ = [
    "read_csv_tables",
    "read_qscaled",
    "read_rllib",
    "read_sb3",
    "read_spinningup",
    "read_stable_baselines3",
    "read_tensorboard",
]
