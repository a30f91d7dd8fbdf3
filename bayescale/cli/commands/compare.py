"""Run the command that scores prediction methods on held-out runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.files import read_curve_files, write_csv
from bayescale.cli.options import (
    MAX_SEED,
    Chains,
    CurveFiles,
    Draws,
    Ignore,
    MissingEnd,
    ResetPeriod,
    Resumed,
    ReturnScaleFile,
    Thresholds,
    Warmup,
    parse_thresholds,
)
from bayescale.cli.terminal import say, table_text
from bayescale.data.output_files import check_output

if TYPE_CHECKING:
    import pandas as pd

SCIENTIFIC_FROM = 1e5  # a log score has no lower bound where a method gives a run almost no probability


def compare(
    curves: CurveFiles,
    leave_out: Annotated[
        str,
        typer.Option(
            metavar="SPLIT",
            help="Runs to hold out. utd-max, utd-min, utd-ends: the highest UTD, the lowest, both. task: each task in "
            "turn. seeds: some seeds of every configuration.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="TABLE.csv", help="The table to write.")],
    thresholds: Thresholds = None,
    return_scale: ReturnScaleFile = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="M,M,...",
            help="Methods: bayescale, complete-pooling, no-pooling, published, size-law; default: all.",
        ),
    ] = None,
    give_back: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="With --leave-out task: runs of the held-out task that are fitted all the same."
        ),
    ] = 0,
    reset_period: ResetPeriod = None,
    resumed: Resumed = None,
    missing_end: MissingEnd = None,
    ignore: Ignore = None,
    chains: Chains = 4,
    draws: Draws = 1000,
    warmup: Warmup = 200,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of samplers and bootstraps.")] = 0,
) -> None:
    """Score prediction methods on held-out runs.

    Fits every method without the held-out runs and scores its predictions of their env steps. Where the fitted runs of
    a task evaluate at irregular steps, all methods are scored on the crossing itself: a quantile between the last
    evaluation below a threshold and the first one above it costs nothing. The methods:

    \b
    bayescale         the model of `bayescale fit`
    complete-pooling  the same model with all tasks fitted as one
    no-pooling        the same model fitted to each task alone
    published         the point estimates of Rybkin et al. (2025)
    size-law          the point estimates of Fu et al. (2025)

    TABLE.csv has one row per method:

    \b
    observations  held-out runs times thresholds
    censored      share of observations that never reached the threshold
    coverage90    share of observations inside their 90% intervals
    wis           weighted interval score of log env steps; lower is better
    male          mean absolute error of the predicted medians, in logs; lower is
                  better
    log_score     log score of the held-out runs; higher is better
    loo           log score of the fitted runs, each left out in turn; higher is
                  better
    width90       width of the 90% intervals, in logs
    weight        weight of the method in a stack of the Bayesian methods
    seconds       run time
    note          what else to know
    """  # noqa: D301 - a backspace tells click to keep the lines of the list
    check_output(out, ".csv")
    chosen_thresholds = parse_thresholds(thresholds)
    import bayescale as bs
    from bayescale.comparators.held_out import METHODS

    chosen = tuple(METHODS) if methods is None else tuple(methods.split(","))
    table = bs.compare(
        read_curve_files(curves, resumed=resumed, missing_end=missing_end, ignore=ignore),
        leave_out=leave_out,
        thresholds=chosen_thresholds,
        return_scale=return_scale,
        methods=chosen,
        give_back=give_back,
        reset_period=reset_period,
        seed=seed,
        chains=chains,
        draws=draws,
        warmup=warmup,
        report=say,
    )
    print(comparison_table(table))
    write_csv(table, out)


def comparison_table(table: "pd.DataFrame") -> str:
    """Return the scores as text, one line per method."""
    scores = ["coverage90", "wis", "male", "log_score", "loo", "width90", "weight"]
    rows = []
    for row in table.to_dict("records"):
        numbers = [f"{row[name]:.3{'f' if abs(row[name]) < SCIENTIFIC_FROM else 'g'}}" for name in scores]
        rows.append([row["method"], f"{row['observations']:,}", *numbers, row["note"]])
    head = ["method", "observations", *scores]
    if table["note"].astype(bool).any():
        head.append("note")
    return table_text(head, [row[: len(head)] for row in rows], text_columns=["note"])
