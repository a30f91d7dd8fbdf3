"""Options that several commands share, and the values behind the words of an option."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.errors import InputError

if TYPE_CHECKING:
    import numpy as np

MAX_SEED = 2**63 - 1

FitFile = Annotated[Path, typer.Argument(metavar="FIT.nc", help="A posterior that `bayescale fit` wrote.")]
Task = Annotated[str, typer.Option("--env", metavar="ENV", help="The task, as in the column env_id.")]
ModelSize = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Critic parameters; default: those of the fitted runs.")
]
ReturnScaleFile = Annotated[
    Path | None,
    typer.Option("--return-scale", metavar="SCALE.csv", help="Columns env_id, low, high: the returns 0 and 1000."),
]
CurveFiles = Annotated[list[str], typer.Argument(metavar="CURVES...", help="Files or globs: .csv, .csv.gz, .parquet.")]
Thresholds = Annotated[
    str | None, typer.Option(metavar="J,J,...", help="Increasing returns; default: ten, from the data.")
]
CeilingOption = Annotated[
    str | None,
    typer.Option(
        "--ceiling",
        metavar="J|CEILINGS.csv",
        help="The best return there is, in units of the thresholds, or a table with columns env_id, ceiling.",
    ),
]
ResetPeriod = Annotated[
    float | None, typer.Option(metavar="UPDATES", help="Gradient updates between full resets of the agent, if any.")
]
Chains = Annotated[int, typer.Option(min=1, help="Markov chains.")]
Draws = Annotated[
    int,
    typer.Option(  # inference.LEAST_DRAWS and ROUNDS, without its imports
        min=8, help="Draws kept per chain; more, up to four times as many, while the chains have not converged."
    ),
]
Warmup = Annotated[int, typer.Option(min=1, help="Adaptation iterations per chain.")]
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


def parse_ceiling(text: str | None) -> float | str | None:
    """The number, if it is one, or the path of a table; None for None."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


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

    return np.array(
        [float(f"{utd:.12g}") for utd in np.geomspace(lowest, highest, number)]
    )  # 2, not 1.9999999999999998
