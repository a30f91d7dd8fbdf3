"""What the commands take: options that several of them share, and the values behind the words of an option."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

FitFile = Annotated[Path, typer.Argument(metavar="FIT.nc", help="A posterior that `bayescale fit` wrote.")]
Task = Annotated[str, typer.Option("--env", metavar="ENV", help="The task, as in the column env_id.")]
ModelSize = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Critic parameters; default: those of the fitted runs.")
]
ReturnScaleFile = Annotated[
    Path | None,
    typer.Option("--return-scale", metavar="SCALE.csv", help="Columns env_id, low, high: the returns 0 and 1000."),
]
EnvStepPrice = Annotated[float, typer.Option("--env-step-price", metavar="DELTA", help="Price of one env step.")]
FlopPrice = Annotated[float, typer.Option("--flop-price", metavar="PRICE", help="Price of one flop.")]


def parse_thresholds(text: str | None) -> list[float] | None:
    """The numbers of `J,J,...`; None for None."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--thresholds must be numbers with commas between; got '{text}'. Try 300,500,800.") from None


def parse_utd(text: str | None) -> "np.ndarray | None":
    """The grid that `LO:HI:N` describes, evenly spaced in logs; None for None."""
    if text is None:
        return None
    try:
        low, high, count = text.split(":")
        lowest, highest, number = float(low), float(high), int(count)
    except ValueError:
        raise InputError(f"--utd must be LO:HI:N; got '{text}'. Try 0.25:16:25.") from None
    if not (0 < lowest < highest < math.inf and number >= 2):
        raise InputError(f"--utd must have 0 < LO < HI and N >= 2; got '{text}'. Try 0.25:16:25.")
    import numpy as np

    return np.geomspace(lowest, highest, number)


def read_candidates(path: Path) -> "pd.DataFrame":
    """The candidate runs of a file, checked, one row each."""
    from bayescale.design import CANDIDATE_COLUMNS
    from bayescale.tables import check_columns, read_table

    return check_columns(read_table(path, ("env_id",)), CANDIDATE_COLUMNS).reset_index(drop=True)


def read_configs(path: Path) -> "pd.DataFrame":
    """The configurations of a file, checked, one row each."""
    from bayescale.tables import Column, check_columns, read_table

    columns = (
        Column("env_id", "text"),
        Column("utd", "real", above=0),
        Column("batch_size", "integer", above=0),
        Column("learning_rate", "real", above=0),
        Column("model_size", "integer", above=0, optional=True),
    )
    return check_columns(read_table(path, ("env_id",)), columns).reset_index(drop=True)
