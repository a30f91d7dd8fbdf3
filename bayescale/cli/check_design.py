"""The command that tries a sweep on paper."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.arguments import counted
from bayescale.cli.files import read_design, write_csv
from bayescale.cli.options import MAX_SEED
from bayescale.data.output_files import check_output
from bayescale.errors import InputError

if TYPE_CHECKING:
    from bayescale.validation.design_check import DesignCheck

TELLS, TELLS_NOTHING = 0.5, 0.8  # posterior sd over prior sd


def check_design(
    design: Annotated[
        Path, typer.Argument(metavar="DESIGN", help="PLAN.toml, or CONFIGS.csv, which may have a column seeds.")
    ],
    every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Env steps between evaluations; default: the plan's.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Env steps of every run; default: the plan's.")
    ] = None,
    env_steps: Annotated[
        float | None,
        typer.Option(metavar="N", help="A guess: env steps of the median run to the lowest threshold."),
    ] = None,
    thresholds: Annotated[int, typer.Option(min=1, metavar="K", help="How many thresholds will be fitted.")] = 1,
    datasets: Annotated[int, typer.Option(min=1, help="Data sets to simulate and fit.")] = 40,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the simulation.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="CHECK.csv", help="Write the table here too.")] = None,
) -> None:
    """Say what a grid would tell of the law, before it is run."""
    if out is not None:
        check_output(out, ".csv")
    read = read_design(design)
    every, horizon = every or read.every, horizon or read.horizon
    if every is None or horizon is None:
        raise InputError("a table of configurations needs --every and --horizon; give both, or a plan.")
    import numpy as np

    import bayescale as bs

    checked = bs.check_design(
        read.configs, every, horizon, np.random.default_rng(seed), tuple(range(1, thresholds + 1)), env_steps,
        datasets=datasets,
    )  # fmt: skip
    print(_report(checked))
    if out is not None:
        write_csv(checked.table.reset_index(), out)


def _report(checked: "DesignCheck") -> str:
    width = max(len(str(name)) for name in checked.table.index) + 2
    lines = [f"{'':{width}}{'prior sd':>10}{'posterior sd':>14}{'ratio':>8}{'coverage90':>12}"]
    for name, row in checked.table.iterrows():
        ratio = row["ratio"]
        verdict = "told" if ratio < TELLS else "not told" if ratio > TELLS_NOTHING else "told in part"
        numbers = f"{row['prior_sd']:>10.2f}{row['posterior_sd']:>14.2f}{ratio:>8.2f}{row['coverage90']:>12.2f}"
        lines.append(f"{name:{width}}{numbers}  {verdict}")
    error = float(checked.table["standard_error"].iloc[0])
    seen = f"{checked.reached:.0%} of their times lie between the first evaluation and the last"
    lines.append(f"{counted(checked.datasets, 'data set')}; {seen}; coverage is known to {error:.2f}")
    return "\n".join(lines)
