"""Run the command that checks a planned sweep by simulation."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.arguments import counted
from bayescale.cli.files import read_design, write_csv
from bayescale.cli.options import MAX_SEED
from bayescale.cli.terminal import table_text
from bayescale.data.output_files import check_output
from bayescale.errors import InputError

if TYPE_CHECKING:
    from bayescale.validation.design_check import DesignCheck

IDENTIFIED_BELOW, NOT_IDENTIFIED_ABOVE = 0.5, 0.8  # posterior sd over prior sd


def check_design(
    design: Annotated[
        Path,
        typer.Argument(
            metavar="DESIGN",
            help="PLAN.toml, or CONFIGS.csv with columns env_id, utd, batch_size, learning_rate, [model_size, seeds].",
        ),
    ],
    every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Env steps between evaluations; default: as in the plan.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Env steps of every run; default: as in the plan.")
    ] = None,
    env_steps: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Your guess of the env steps that the median run needs for the lowest threshold; default: a fifth of "
            "the horizon.",
        ),
    ] = None,
    thresholds: Annotated[int, typer.Option(min=1, metavar="K", help="Number of thresholds that will be fitted.")] = 1,
    datasets: Annotated[int, typer.Option(min=1, metavar="N", help="Number of data sets to simulate and fit.")] = 40,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of the simulation.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="CHECK.csv", help="Also write the table to this file.")] = None,
) -> None:
    """Check how well a planned sweep would identify the parameters.

    Simulates data sets of the plan from the priors and fits each of them. The table has one row per parameter of the
    scaling law, and one per prediction beyond the sweep:

    \b
    prior sd      uncertainty before the sweep
    posterior sd  uncertainty after it
    ratio         posterior sd over prior sd: below 0.5 the sweep identifies the
                  parameter, above 0.8 it does not
    coverage90    share of data sets whose 90% interval holds the true value
    """  # noqa: D301 - a backspace tells click to keep the lines of the list
    if out is not None:
        check_output(out, ".csv")
    read = read_design(design)
    every, horizon = every or read.every, horizon or read.horizon
    if every is None or horizon is None:
        raise InputError("a table of configurations needs --every and --horizon; give both, or a plan.")
    import numpy as np

    import bayescale as bs

    checked = bs.check_design(
        read.configs,
        every=every,
        horizon=horizon,
        rng=np.random.default_rng(seed),
        thresholds=tuple(range(1, thresholds + 1)),
        env_steps=env_steps,
        datasets=datasets,
    )
    print(_report(checked))
    if out is not None:
        write_csv(checked.table.reset_index(), out)


def _report(checked: "DesignCheck") -> str:
    head = ["", "prior sd", "posterior sd", "ratio", "coverage90", "verdict"]
    rows = []
    for name, row in checked.table.iterrows():
        ratio = row["ratio"]
        verdict = "partly identified"
        if ratio < IDENTIFIED_BELOW:
            verdict = "identified"
        elif ratio > NOT_IDENTIFIED_ABOVE:
            verdict = "not identified"
        numbers = (row["prior_sd"], row["posterior_sd"], ratio, row["coverage90"])
        rows.append([str(name), *(f"{number:.2f}" for number in numbers), verdict])
    error = float(checked.table["standard_error"].iloc[0])
    return (
        f"{table_text(head, rows, text_columns=['verdict'])}\n{counted(checked.datasets, 'data set')}; "
        f"{checked.reached:.0%} of their times lie between the first evaluation and the last; "
        f"standard error of coverage90: {error:.2f}"
    )
