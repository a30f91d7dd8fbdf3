"""One file per tracker or format, and the files that some of them need.

tensorboard        read a scalar series from TensorBoard event files
event_files        read the events of one event file, and refuse damaged files
stable_baselines3  read the evaluations.npz files of Stable-Baselines3
sb3_logs           read the folders of Stable-Baselines3 and its zoo
zoo_settings       read args.yml and config.yml of rl-baselines3-zoo
rllib              read the trial folders of Ray Tune and RLlib
spinningup         read the folders of Spinning Up
qscaled            read the arrays of the package qscaled, in folders and zips
csv_tables         read any long or wide table by a mapping of its columns
"""
