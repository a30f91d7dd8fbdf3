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
from bayescale.progress_display import ProgressDisplay

if TYPE_CHECKING:
    from bayescale.validation.design_check import DesignCheck


def check_design(
    design: Annotated[
        Path,
        typer.Argument(
            metavar="DESIGN",
            help="PLAN.toml, or CONFIGS.csv with columns env_id, utd, batch_size, learning_rate, [model_size, seeds, "
            "every, horizon].",
        ),
    ],
    every: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Env steps between evaluations; default: as in DESIGN.")
    ] = None,
    horizon: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Env steps of every run; default: as in DESIGN.")
    ] = None,
    env_steps: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Your guess of the env steps that the median run needs for the lowest threshold; default: a fifth of "
            "the longest horizon.",
        ),
    ] = None,
    thresholds: Annotated[
        int, typer.Option(min=1, metavar="K", help="Number of thresholds that will be fitted; at most 3 are simulated.")
    ] = 1,
    datasets: Annotated[int, typer.Option(min=1, metavar="N", help="Number of data sets to simulate.")] = 10,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of the simulation.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="CHECK.csv", help="Also write the table to this file.")] = None,
) -> None:
    """Check by simulation what a planned sweep would tell, before money is spent.

    Simulates data sets of the plan from the priors and approximates the posterior of each. Prints how narrow the
    intervals of each quantity would become, how much narrower a handful of changes of the plan would make them, and a
    verdict of three sentences: can the plan place the optimum, how wide will the recommendation be, and which is the
    cheapest change that helps.

    \b
    before the sweep  90% interval of the priors, as the ratio of its ends
    after it          the same, of the posterior
    the plan          places a quantity if its posterior sd is below 0.5 of the
                      prior sd, and does not place it above 0.8
    """  # noqa: D301 - a backspace tells click to keep the lines of the list
    if out is not None:
        check_output(out, ".csv")
    plan = read_design(design)
    if (every is None and "every" not in plan) or (horizon is None and "horizon" not in plan):
        raise InputError("a table of configurations needs --every and --horizon; give both, or a plan.")
    import numpy as np

    import bayescale as bs

    with ProgressDisplay() as display:
        display.advance(0.0, "compiling")
        compiled = False

        def show(share: float) -> None:
            nonlocal compiled
            if not compiled:
                display.set_pace(share)
                compiled = True
            display.advance(share, "simulated data sets")

        checked = bs.check_design(
            plan,
            every=every,
            horizon=horizon,
            rng=np.random.default_rng(seed),
            thresholds=tuple(range(1, thresholds + 1)),
            env_steps=env_steps,
            datasets=datasets,
            on_progress=show,
        )
    print(_report(checked))
    if out is not None:
        write_csv(checked.table.reset_index(), out)


def _report(checked: "DesignCheck") -> str:
    from bayescale.validation.design_verdict import factor, further, placed

    rows = [
        [str(name), factor(row["prior_sd"]), factor(row["posterior_sd"]), placed(row["ratio"])]
        for name, row in checked.table.iterrows()
    ]
    quantities = table_text(["", "before the sweep", "after it", "the plan"], rows, text_columns=["the plan"])
    changes = [
        [str(row["change"]), further(row, checked.runs), f"{max(row['gain'], 0):.0%}"]
        for _, row in checked.changes.sort_values("gain", ascending=False).iterrows()
    ]
    head = ["change of the plan", "costs", "narrows the intervals by"]
    plan = (
        f"plan: {checked.summary}; {counted(checked.datasets, 'simulated data set')}; {checked.reached:.0%} of their "
        "runs cross the threshold between their first evaluation and their last"
    )
    table = table_text(head, changes, text_columns=["costs"])
    return "\n".join([plan, "", quantities, "", table, "", *checked.verdict])
