"""Write a search space for Optuna around the recommended setting."""

import pandas as pd

from bayescale.launch.plan_file import one_row

WIDEST = 8.0  # the space reaches at most this factor from the recommended value


def optuna(table: pd.DataFrame) -> str:
    """Return Python code of a search space: the 90% intervals of the best values, and the recommended setting first."""
    row = one_row(table, purpose="a search space")
    batch, rate = (_range(row, name) for name in ("batch_size", "learning_rate"))
    first = {
        "batch_size": int(row["batch_size"]),
        "learning_rate": float(f"{row['learning_rate']:.4g}"),
    }
    lowest = round(batch[0])
    highest = max(round(batch[1]), lowest + 1)
    return f"""# The search space holds the posterior's best values at this UTD; start with study.enqueue_trial(FIRST).

TASK = {str(row["env_id"])!a}
UTD = {row["utd"]:.6g}  # gradient updates per env step
ENV_STEPS = {int(row["run_length"])}  # run length
FIRST = {first!r}


def suggest(trial):
    return {{
        "batch_size": trial.suggest_int("batch_size", {lowest}, {highest}, log=True),
        "learning_rate": trial.suggest_float("learning_rate", {rate[0]:.4g}, {rate[1]:.4g}, log=True),
    }}
"""


def _range(row: pd.Series, name: str) -> tuple[float, float]:
    """Return the interval of the best values, at most `WIDEST` times from the recommended value, which it holds."""
    chosen = float(row[name])
    low, high = float(row[f"{name}_q05"]), float(row[f"{name}_q95"])
    return min(max(low, chosen / WIDEST), chosen / 1.5), max(min(high, chosen * WIDEST), chosen * 1.5)
