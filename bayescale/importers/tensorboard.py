"""Learning curves from TensorBoard event files, as CleanRL, Stable-Baselines3 and most trainers write them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.curves import read_curves
from bayescale.errors import InputError, MissingExtra
from bayescale.tables import Table

Settings = Mapping[str, str | float]


def read_tensorboard(
    runs: Mapping[str, Settings] | Mapping[Path, Settings], tag: str = "eval/mean_reward"
) -> pd.DataFrame:
    """The learning-curve table of one scalar series in each run's event files; its steps are the env steps.

    A whole folder of runs: `read_tensorboard({d: configuration(d) for d in Path("logs").iterdir()})`.

    Args:
        runs: folder with one run's event files -> its settings, which the events do not hold: algorithm, env_id, utd,
            batch_size, learning_rate, seed and, if known, suite, model_size and further columns.
        tag: name of the series of returns.

    Raises:
        InputError: a folder without the series, or a table that is not valid.
        MissingExtra: tensorboard is not installed.
    """
    return read_curves(
        Table(_series(Path(folder), tag).assign(**settings), str(folder)) for folder, settings in runs.items()
    )


def _series(folder: Path, tag: str) -> pd.DataFrame:
    try:
        from tensorboard.backend.event_processing.event_accumulator import SCALARS, TENSORS, EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError:
        raise MissingExtra("tensorboard", "importers") from None
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give the folder that holds a run's event files.")
    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0, TENSORS: 0})  # 0 keeps all, the default samples
    events.Reload()
    tags = events.Tags()
    if tag in tags[SCALARS]:  # torch and tensorboardX
        points = [(event.step, event.value) for event in events.Scalars(tag)]
    elif tag in tags[TENSORS]:  # TensorFlow 2
        points = [(event.step, np.asarray(make_ndarray(event.tensor_proto)).item()) for event in events.Tensors(tag)]
    else:
        found = ", ".join(sorted([*tags[SCALARS], *tags[TENSORS]])) or "no series at all"
        raise InputError(f"{folder} has no series '{tag}'; it has {found}. Give one of them as tag.")
    return pd.DataFrame(points, columns=["env_steps", "episode_return"])
