"""One file or folder per tracker or format, and the files that some of them need.

tensorboard        read the event files of TensorBoard, and the CSV files that its page downloads
cleanrl            read the event files of CleanRL
sb3_logs           read the folders of Stable-Baselines3 and its zoo
evaluations_npz    read the evaluations.npz files of Stable-Baselines3
zoo_settings       read args.yml and config.yml of rl-baselines3-zoo
rllib              read the trial folders of Ray Tune and RLlib
spinningup         read the folders of Spinning Up
qscaled            read the arrays of the package qscaled, in folders and zips
wandb              read the service, the run files and the exported CSV files of Weights & Biases
mlflow             read the SQLite databases and the folders of MLflow
csv_tables         read any long or wide table by a mapping of its columns
"""
