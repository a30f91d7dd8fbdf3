"""The command that scores every method on runs held out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.files import write_csv
from bayescale.cli.options import (
    MAX_SEED,
    Chains,
    CurveFiles,
    Draws,
    ResetPeriod,
    ReturnScaleFile,
    Thresholds,
    Warmup,
    parse_thresholds,
)
from bayescale.cli.progress import say
from bayescale.data.output_files import check_output

if TYPE_CHECKING:
    import pandas as pd

LONG = 1e5  # the log score of runs where a method has nearly no probability has no end


def compare(
    curves: CurveFiles,
    leave_out: Annotated[
        str, typer.Option(metavar="WHAT", help="What is held out: utd-max, utd-min, utd-ends, task, seeds.")
    ],
    out: Annotated[Path, typer.Option(metavar="TABLE.csv", help="The table to write.")],
    thresholds: Thresholds = None,
    return_scale: ReturnScaleFile = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,...", help="bayescale, complete-pooling, no-pooling, published, size-law; default: all."
        ),
    ] = None,
    give_back: Annotated[int, typer.Option(min=0, help="Runs of each held-out task to fit after all.")] = 0,
    reset_period: ResetPeriod = None,
    chains: Chains = 4,
    draws: Draws = 1000,
    warmup: Warmup = 500,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of samplers and bootstraps.")] = 0,
) -> None:
    """Score every method on runs held out of its fit.

    TABLE.csv has a row per method: observations, runs times thresholds, and the share censored of them that never got
    there; coverage90, the share inside their 90% intervals; wis, the weighted interval score, and male, the error of
    medians, both of log env steps, lower is better; log_score and loo, the log score of the held-out runs and of the
    fitted ones each left out, higher is better; width90, the width of the 90% intervals in logs; weight, that of the
    method in a stack of the Bayesian ones; seconds it took; note.
    """
    check_output(out, ".csv")
    levels = parse_thresholds(thresholds)
    import bayescale as bs
    from bayescale.comparators.held_out import METHODS

    chosen = tuple(METHODS) if methods is None else tuple(methods.split(","))
    table = bs.compare(
        bs.read_curves(*curves), leave_out, levels, return_scale, chosen, give_back, reset_period,
        seed, chains, draws, warmup, say,
    )  # fmt: skip
    print(comparison_table(table))
    write_csv(table, out)


def comparison_table(table: "pd.DataFrame") -> str:
    """The scores as they are printed, a line per method."""
    names = ("coverage90", "wis", "male", "log_score", "loo", "width90", "weight")
    lines = [f"{'method':18}{'observations':>13}" + "".join(f"{name:>11}" for name in names)]
    for row in table.to_dict("records"):
        numbers = "".join(f"{row[name]:>11.3{'f' if abs(row[name]) < LONG else 'g'}}" for name in names)
        note = f"  ({row['note']})" if row["note"] else ""
        lines.append(f"{row['method']:18}{row['observations']:>13}{numbers}{note}")
    return "\n".join(lines)
