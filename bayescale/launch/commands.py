"""Write recommended runs as commands of other trainers, one line per run, and as a Slurm job.

Values are quoted for a POSIX shell where it would misread them. Each form says that it holds the swept settings alone.
"""

import math
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from shlex import quote

import pandas as pd

from bayescale.arguments import counted

PLAIN_HYDRA = re.compile(r"[A-Za-z][\w./:-]*")  # a value that Hydra reads as a text without quotes
THE_REST = "# All other settings are the program's own: give it those that the fitted runs shared."
DENOMINATOR = 16  # largest number of env steps between the updates of a fractional UTD


def cleanrl(table: pd.DataFrame, *, seeds: Sequence[int] = range(4)) -> str:
    """Return one command of CleanRL's SAC per row and seed. Its script does one update per env step; others say so."""
    lines = [THE_REST]
    for row in _runnable(table):
        words = (
            f"--env-id {quote(_task(row))} --total-timesteps {int(row['run_length'])} --batch-size {row['batch_size']} "
            f"--policy-lr {_rate(row)} --q-lr {_rate(row)}"
        )
        if not math.isclose(row["utd"], 1):
            ratio = Fraction(row["utd"]).limit_denominator(DENOMINATOR)
            steps = "env step" if ratio.denominator == 1 else f"{ratio.denominator} env steps"
            lines.append(
                f"# UTD {row['utd']:.3g}: let the script do {counted(ratio.numerator, 'update')} every {steps}"
            )
        lines += [f"python cleanrl/sac_continuous_action.py {words} --seed {seed}" for seed in seeds]
    return _text(lines)


def sb3(table: pd.DataFrame, *, seeds: Sequence[int] = range(4)) -> str:
    """Return one command of RL Baselines3 Zoo per row and seed; UTD is gradient_steps over train_freq."""
    lines = [THE_REST]
    for row in _runnable(table):
        ratio = Fraction(row["utd"]).limit_denominator(DENOMINATOR)
        setting = (
            f"batch_size:{row['batch_size']} learning_rate:{_rate(row)} "
            f"train_freq:{ratio.denominator} gradient_steps:{ratio.numerator}"
        )
        lines += [
            f"python -m rl_zoo3.train --algo sac --env {quote(_task(row))} --n-timesteps {int(row['run_length'])} "
            f"--seed {seed} --hyperparams {setting}"
            for seed in seeds
        ]
    return _text(lines)


def hydra(table: pd.DataFrame, *, seeds: Sequence[int] = range(4)) -> str:
    """Return one multirun command of a Hydra application per row; the script and the keys are yours to rename."""
    lines = [THE_REST]
    for row in _runnable(table):
        task = _task(row)
        value = task if PLAIN_HYDRA.fullmatch(task) else "'" + task.replace("\\", "\\\\").replace("'", r"\'") + "'"
        numbers = ",".join(map(str, seeds))
        lines.append(
            f"python train.py --multirun {quote(f'env_id={value}')} utd={row['utd']:.6g} "
            f"batch_size={row['batch_size']} learning_rate={_rate(row)} env_steps={int(row['run_length'])} "
            f"seed={numbers}"
        )
    return _text(lines)


def slurm(table: pd.DataFrame, *, seeds: Sequence[int] = range(4)) -> str:
    """Return a Slurm array job: one run per element, by a program that takes the settings as options."""
    runs = [
        f"--env-id {quote(_task(row))} --utd {row['utd']:.6g} --batch-size {row['batch_size']} "
        f"--learning-rate {_rate(row)} --env-steps {int(row['run_length'])} --seed {seed}"
        for row in _runnable(table)
        for seed in seeds
    ]
    head = ["#!/bin/bash", THE_REST, "#SBATCH --job-name=bayescale", f"#SBATCH --array=0-{max(len(runs) - 1, 0)}"]
    if "seconds_q95" in table and runs:
        longest = max(row["seconds_q50"] * row["run_length"] / row["env_steps_q50"] for row in _runnable(table))
        head.append(f"#SBATCH --time={math.ceil(2 * longest / 60)}  # minutes; twice the longest run's expected time")
    runs_of_array = [f"  {quote(run)}" for run in runs]
    tail = ['TRAIN="${TRAIN:-python train.py}"  # the program to run; its options are named as here', "RUNS=("]
    return _text([*head, *tail, *runs_of_array, ")", 'eval "$TRAIN ${RUNS[$SLURM_ARRAY_TASK_ID]}"'])


def _runnable(table: pd.DataFrame) -> Iterator[pd.Series]:
    """Yield the rows with a finite run length."""
    return (row for _, row in table.iterrows() if math.isfinite(row["run_length"]))


def _task(row: pd.Series) -> str:
    return str(row["env_id"])


def _rate(row: pd.Series) -> str:
    return f"{row['learning_rate']:.4g}"


def _text(lines: list[str]) -> str:
    return "\n".join([*lines, ""])
