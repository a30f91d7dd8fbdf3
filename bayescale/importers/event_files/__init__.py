"""Read the event files of TensorBoard, which CleanRL, Stable-Baselines3 and most trainers write.

records          read the events of one file, and find damage
series           collect the scalars of one file, and join the files of a run
hyperparameters  read settings from HParams events and from CleanRL's table
"""
