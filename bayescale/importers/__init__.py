"""Read learning curves from the logs of other tools, as validated learning-curve tables.

kinds         one file per tracker or format
event_files   read the event files of TensorBoard
importer      the functions of one kind, and a table read with them in one call
run_folders   find the folders of runs and read their text files
run_logs      runs as trackers log them, and the mapping to a table
guesses       guess which keys hold the columns
keys          look up keys and ratios of keys in a run
mapping_file  read and write a mapping as TOML
path_patterns read settings from the names of runs
usual_names   guess the keys that trainers choose
listed_runs   runs whose histories are read when the mapping is known
curve_table   apply a mapping to runs, and return the validated table
"""

from bayescale.importers.kinds.cleanrl import read_cleanrl
from bayescale.importers.kinds.csv_tables import read_csv_tables
from bayescale.importers.kinds.mlflow import read_mlflow
from bayescale.importers.kinds.qscaled import read_qscaled
from bayescale.importers.kinds.rllib import read_rllib
from bayescale.importers.kinds.sb3_logs import read_sb3
from bayescale.importers.kinds.spinningup import read_spinningup
from bayescale.importers.kinds.tensorboard import read_tensorboard
from bayescale.importers.kinds.wandb import read_wandb

read_stable_baselines3 = read_sb3  # The older name of read_sb3.

__all__ = [
    "read_cleanrl",
    "read_csv_tables",
    "read_mlflow",
    "read_qscaled",
    "read_rllib",
    "read_sb3",
    "read_spinningup",
    "read_stable_baselines3",
    "read_tensorboard",
    "read_wandb",
]
