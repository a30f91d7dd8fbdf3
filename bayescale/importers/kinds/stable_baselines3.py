"""Read learning curves from the evaluations.npz files that the EvalCallback of Stable-Baselines3 writes."""

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.data.curves import read_curves
from bayescale.data.tables import Table
from bayescale.errors import InputError

Settings = Mapping[str, str | float]

# numpy.load and its arrays raise these for damaged files and for other content; the type depends on the damaged part.
UNREADABLE = (
    KeyError, TypeError, ValueError, EOFError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_stable_baselines3(runs: Mapping[str, Settings] | Mapping[Path, Settings]) -> pd.DataFrame:
    """Return the learning-curve table of the runs; the return of an evaluation is the mean over its episodes.

    To read a folder of runs, with your own function `settings` from a file to its settings:
    `read_stable_baselines3({f: settings(f) for f in Path("logs").glob("*/evaluations.npz")})`.

    Args:
        runs: the path of each run's evaluations.npz, with the settings that the file does not hold: algorithm, env_id,
            utd, batch_size, learning_rate, seed and, if known, suite, model_size and further columns.

    Raises:
        InputError: EvalCallback did not write a file, or the table is not valid.
    """
    return read_curves(Table(evaluations(Path(file)).assign(**settings), str(file)) for file, settings in runs.items())


def evaluations(file: Path) -> pd.DataFrame:
    """Return the env steps of each evaluation and its mean return over the episodes.

    Raises:
        InputError: EvalCallback did not write the file.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            timesteps, results = arrays["timesteps"], arrays["results"]
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or 'not an npz file'}). Check the path.") from None
    except UNREADABLE:
        raise InputError(
            f"{file} does not hold the arrays timesteps and results. Give an evaluations.npz of EvalCallback."
        ) from None
    if timesteps.ndim != 1 or results.ndim != 2 or len(results) != len(timesteps) or results.shape[1] == 0:
        raise InputError(
            f"{file} must hold timesteps (evaluation,) and results (evaluation, episode); got shapes "
            f"{timesteps.shape} and {results.shape}. Give an evaluations.npz of EvalCallback."
        )
    if results.dtype.kind not in "biuf":
        raise InputError(
            f"{file} must hold numbers as results; got {results.dtype}. Give an evaluations.npz of EvalCallback."
        )
    with np.errstate(invalid="ignore"):  # the mean of inf and -inf is NaN, a missing return
        returns = results.mean(axis=1)
    return pd.DataFrame({"env_steps": timesteps, "episode_return": returns})
