"""Declare the options that several commands share, and parse their values."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.errors import InputError

if TYPE_CHECKING:
    import numpy as np

MAX_SEED = 2**63 - 1

FitFile = Annotated[Path, typer.Argument(metavar="FIT.nc", help="A file that `bayescale fit` wrote.")]
Task = Annotated[
    str, typer.Option("--env", metavar="ENV", help="The task, named as in the column env_id of the learning curves.")
]
ModelSize = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of critic parameters; default: as in the fitted runs.")
]
ReturnScaleFile = Annotated[
    Path | None,
    typer.Option(
        "--return-scale",
        metavar="SCALE.csv",
        help="Normalise returns: columns env_id, low, high give the returns that become 0 and 1000.",
    ),
]
CurveFiles = Annotated[
    list[str],
    typer.Argument(metavar="CURVES", help="Learning curves: .csv, .csv.gz or .parquet files, or quoted globs."),
]
Resumed = Annotated[
    str | None,
    typer.Option(
        metavar="keep-last",
        help="If the steps of a run repeat or start over, it was resumed from a checkpoint: keep the later rows. "
        "Default: refuse such runs.",
    ),
]
MissingEnd = Annotated[
    str | None,
    typer.Option(
        metavar="ended|diverged",
        help="How a run without a status ended if its last returns are missing. Default: refuse such runs.",
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="A further column of CURVES to leave out: runs that differ in it count as seeds of one configuration. "
        "Repeat the option for more.",
    ),
]
Thresholds = Annotated[
    str | None,
    typer.Option(
        metavar="J,J,...", help="Returns whose first crossing is predicted, increasing; default: ten, from the curves."
    ),
]
CeilingOption = Annotated[
    str | None,
    typer.Option(
        "--ceiling",
        metavar="J|CEILINGS.csv",
        help="The best possible return, in the units of the thresholds; or a table with columns env_id, ceiling. "
        "It improves answers about returns above the fitted thresholds.",
    ),
]
NewTask = Annotated[
    bool,
    typer.Option(
        "--new-task",
        help="Answer for a task that has no fitted run: one sampled from the population of the fitted tasks.",
    ),
]
CutShort = Annotated[
    bool,
    typer.Option(
        "--cut-short",
        help="Count runs that crashed or ended early below the return as cut short, not as failed, so that their "
        "settings may be recommended.",
    ),
]
RiskMeasure = Annotated[
    str,
    typer.Option(
        "--risk",
        metavar="mean|cvar:A|prob:A|run:A",
        help="The cost to minimise. mean: the posterior mean of the expected cost, in which failed runs are repeated, "
        "up to 1,000 runs. cvar:0.9: the mean of the most expensive 10% of its posterior. prob:0.9: the cost that it "
        "does not exceed with probability 0.9. "
        "run:0.9: a cost that suffices for any one run, seed noise included, with probability 0.9.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the JSON object of FILE.json instead of the table, for scripts.")
]
WithinOption = Annotated[
    list[str] | None,
    typer.Option(
        "--within",
        metavar="AXIS=LO:HI",
        help="Choose among these values of utd, batch_size, learning_rate or model_size, in place of the swept range. "
        "Choices beyond the sweep extrapolate. Repeat the option for more axes.",
    ),
]
ResetPeriod = Annotated[
    float | None,
    typer.Option(
        metavar="UPDATES", help="Gradient updates between full resets of the agent, if the algorithm resets it."
    ),
]
Chains = Annotated[int, typer.Option(min=1, metavar="N", help="Markov chains.")]
Draws = Annotated[
    int,
    typer.Option(  # these bounds repeat inference.LEAST_DRAWS and ROUNDS, to spare their imports
        min=8,
        metavar="N",
        help="Draws to keep per chain; up to four times as many while the chains have not converged.",
    ),
]
Warmup = Annotated[
    int, typer.Option(min=1, metavar="N", help="Iterations per chain that adapt the sampler and are not kept.")
]
EnvStepPrice = Annotated[
    float,
    typer.Option(
        "--env-step-price",
        metavar="PRICE",
        show_default=False,
        help=f"Price of one env step, in your unit of cost; default: {ENV_STEP_PRICE:g}, a price in flops.",
    ),
]
FlopPrice = Annotated[
    float, typer.Option("--flop-price", metavar="PRICE", help="Price of one training flop, in the same unit.")
]


def parse_thresholds(text: str | None) -> list[float] | None:
    """Return the numbers of `J,J,...`, or None for None."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--thresholds must be numbers separated by commas; got '{text}'. Try --thresholds=300,500,800."
        ) from None


def parse_ceiling(text: str | None) -> float | str | None:
    """Return the number if the text is one, the path of a table otherwise, or None for None."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def parse_within(texts: list[str] | None) -> dict[str, tuple[float, float]] | None:
    """Return the ranges that `AXIS=LO:HI` describe, by axis, or None for None."""
    found = {}
    for text in texts or ():
        axis, _, limits = text.partition("=")
        try:
            low, high = map(float, limits.split(":"))
        except ValueError:
            raise InputError(f"--within must be AXIS=LO:HI; got '{text}'. Try --within batch_size=64:4096.") from None
        found[axis.strip()] = (low, high)
    return found or None


def parse_utd(text: str | None) -> "np.ndarray | None":
    """Return the UTDs that `LO:HI:N` describes, evenly spaced in logs, or None for None."""
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

    grid = np.geomspace(lowest, highest, number)
    return np.array([float(f"{utd:.12g}") for utd in grid])  # twelve digits turn 1.9999999999999998 into 2
