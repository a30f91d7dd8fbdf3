"""Write recommended runs in the forms that other programs read.

tables         CSV, JSON and LaTeX
plan_file      a plan for `bayescale sweep`
commands       commands and job scripts: CleanRL, RL Baselines3 Zoo, Hydra, Slurm
search_spaces  a search space for Optuna

Each function takes the table of `bayescale.decisions.experiments.recommendations` and returns a text.
"""
