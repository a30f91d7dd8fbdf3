"""Run the command that recommends the next stage of runs, and writes it in the form of other programs."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bayescale.arguments import three_digits
from bayescale.cli.commands.decide import reached_by
from bayescale.cli.files import load_posterior, read_curve_files
from bayescale.cli.options import (
    MAX_SEED,
    CeilingOption,
    CutShort,
    EnvStepPrice,
    FitFile,
    FlopPrice,
    ModelSize,
    RiskMeasure,
    WithinOption,
    parse_ceiling,
    parse_utd,
    parse_within,
)
from bayescale.cli.terminal import say, table_text
from bayescale.data.output_files import check_output, written
from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.errors import InputError
from bayescale.progress_display import duration

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = {
    "table": ".txt",
    "csv": ".csv",
    "json": ".json",
    "latex": ".tex",
    "plan": ".toml",
    "slurm": ".sh",
    "cleanrl": ".sh",
    "sb3": ".sh",
    "hydra": ".sh",
    "optuna": ".py",
}


def recommend(
    fit: FitFile,
    env: Annotated[
        list[str] | None, typer.Option(metavar="ENV", help="A task; repeat the option for more; default: all tasks.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="J", help="The return to reach; default: for each task the highest that half of its runs reached."
        ),
    ] = None,
    utd: Annotated[
        str | None,
        typer.Option(metavar="LO:HI:N", help="N UTDs from LO to HI, evenly spaced in logs; default: the swept ones."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="|".join(SUFFIXES),
            help="The form of the answer. plan and optuna hold the recommended setting alone.",
        ),
    ] = "table",
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Runs of each setting in plans and commands.")] = 4,
    first_seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="The first of these runs' seeds, which count up.")
    ] = 0,
    base: Annotated[
        Path | None,
        typer.Option(metavar="PLAN.toml", help="With --format plan: the sweep's plan, whose other settings are kept."),
    ] = None,
    curves: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CURVES",
            help="Learning curves with a column `seconds`, to predict the wall-clock time: a file or a quoted glob; "
            "repeat the option for more.",
        ),
    ] = None,
    env_step_price: EnvStepPrice = ENV_STEP_PRICE,
    flop_price: FlopPrice = 1.0,
    risk: RiskMeasure = "mean",
    within: WithinOption = None,
    model_size: ModelSize = None,
    ceiling: CeilingOption = None,
    cut_short: CutShort = False,
    only_recommended: Annotated[
        bool, typer.Option("--only-recommended", help="Only the cheapest setting of each task, in any form.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the answer to this file.")] = None,
) -> None:
    """List the cheapest setting and its run length, for every task, UTD and model size.

    Say for all tasks at once what `bayescale frontier` says for one, at the swept UTDs and in the forms of other
    programs. The table marks the cheapest row of each task with a star. The columns of csv and json:

    \b
    env_id threshold utd model_size  what the row answers for
    batch_size learning_rate  the setting of least cost there
    run_length     env steps within which 95% of the runs that ever reach the
                   return reach it, in whole evaluation intervals
    p_reach        probability that a run ever reaches the return
    env_steps flops seconds  of the median run: _q05 _q50 _q95
    risk excess    the cost, and how much more than the task's cheapest row
    batch_size_q05 ... learning_rate_q95  the best values by the law
    recommended    true for the cheapest row of the task inside the sweep
    evaluation_interval  of the fitted runs
    failed extrapolated extrapolation  as in `bayescale frontier`
    """  # noqa: D301 - a backspace tells click to keep the lines of the list
    if form not in SUFFIXES:
        raise InputError(f"--format must be one of {', '.join(SUFFIXES)}; got '{form}'. Choose one of them.")
    if out is not None:
        check_output(out, SUFFIXES[form])
    content = None if base is None else _plan_content(base)
    import bayescale as bs
    from bayescale.posterior.outcomes import run_counts

    posterior = load_posterior(fit, *(env or ()))
    table = bs.recommend(
        posterior,
        env_ids=env,
        threshold=threshold,
        utd=parse_utd(utd),
        prices=bs.Prices(flop=flop_price, env_step=env_step_price),
        risk=risk,
        within=parse_within(within),
        model_size=model_size,
        ceiling=parse_ceiling(ceiling),
        cut_short=cut_short,
        curves=read_curve_files(curves, resumed=None, missing_end="ended", ignore=None) if curves else None,
    )
    for env_id, aim in table[["env_id", "threshold"]].drop_duplicates().itertuples(index=False):
        (counts,) = run_counts(posterior.crossings, env_id, [aim])
        if counts.few:
            say(f"note: {reached_by(env_id, counts)}.")
    if only_recommended:
        table = table[table["recommended"]].reset_index(drop=True)
    text = _text(table, form, range(first_seed, first_seed + seeds), content)
    if out is None:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    with written(out) as partial:
        partial.write_text(text, encoding="utf-8")
    print(f"wrote {out}")


def _text(table: "pd.DataFrame", form: str, seeds: range, base: Mapping[str, Any] | None) -> str:
    """Return the recommendations in one form."""
    from bayescale.launch import commands, plan_file, search_spaces, tables

    match form:
        case "csv":
            return tables.csv(table)
        case "json":
            return tables.json(table)
        case "latex":
            return tables.latex(table)
        case "plan":
            return plan_file.plan(table, seeds=seeds, base=base)
        case "optuna":
            return search_spaces.optuna(table)
        case "slurm":
            return commands.slurm(table, seeds=seeds)
        case "cleanrl":
            return commands.cleanrl(table, seeds=seeds)
        case "sb3":
            return commands.sb3(table, seeds=seeds)
        case "hydra":
            return commands.hydra(table, seeds=seeds)
    return _table(table)


def _table(table: "pd.DataFrame") -> str:
    """Return the recommendations as an aligned table with units."""
    sized = table["model_size"].nunique() > 1
    timed = "seconds_q50" in table
    head = ["", "task", "return", "UTD", "batch size", "learning rate", "run length", "env steps (90%)", "flops (90%)"]
    head = [
        *head,
        *(["time"] if timed else []),
        "chance",
        "cost",
        "dearer by",
        *(["critic parameters"] if sized else []),
    ]
    rows = []
    for _, row in table.iterrows():
        spans = [
            f"{three_digits(row[f'{name}_q50'])} ({three_digits(row[f'{name}_q05'])} to "
            f"{three_digits(row[f'{name}_q95'])})"
            for name in ("env_steps", "flops")
        ]
        mark = "*" if row["recommended"] else "?" if row["extrapolated"] else ""
        cells = [mark, row["env_id"], three_digits(row["threshold"]), three_digits(row["utd"])]
        cells += [f"{row['batch_size']:,}", three_digits(row["learning_rate"]), three_digits(row["run_length"]), *spans]
        cells += [duration(row["seconds_q50"])] if timed else []
        cells += [f"{row['p_reach']:.1%}", three_digits(row["risk"]), f"{row['excess']:.0%}"]
        rows.append([*cells, *([f"{row['model_size']:,}"] if sized else [])])
    notes = [
        "*  the cheapest setting of the task; run length, env steps: in env steps; cost: in the unit of the prices"
    ]
    if table["extrapolated"].any():
        notes.append("?  outside the sweep: extrapolated")
    return "\n".join([table_text(head, rows, text_columns=("task",)), *notes])


def _plan_content(path: Path) -> dict[str, Any]:
    """Return the keys and values of a plan file, once the runners accept it."""
    from bayescale.runners import load_plan

    load_plan(path)
    return tomllib.loads(path.read_text(encoding="utf-8"))
