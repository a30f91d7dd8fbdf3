"""Read the evaluations.npz files that the EvalCallback of Stable-Baselines3 writes."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.errors import InputError

# numpy.load and its arrays raise these for damaged files and for other content; the type depends on the damaged part.
UNREADABLE = (
    KeyError, TypeError, ValueError, EOFError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


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
