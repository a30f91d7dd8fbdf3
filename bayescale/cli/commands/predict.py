"""Run the commands that predict env steps, returns and the data-compute frontier."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.arguments import counted
from bayescale.cli.files import (
    check_tasks,
    load_posterior,
    note_beyond,
    note_shared_settings,
    read_configs,
    write_csv,
)
from bayescale.cli.options import (
    CeilingOption,
    CutShort,
    EnvStepPrice,
    FitFile,
    FlopPrice,
    ModelSize,
    NewTask,
    RiskMeasure,
    Task,
    WithinOption,
    parse_ceiling,
    parse_thresholds,
    parse_utd,
    parse_within,
)
from bayescale.cli.terminal import say
from bayescale.data.output_files import check_output
from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def predict(
    fit: FitFile,
    at: Annotated[
        Path,
        typer.Option(
            metavar="CONFIGS.csv",
            help="The configurations: columns env_id, utd, batch_size, learning_rate, [model_size].",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="PRED.csv", help="The table to write.")],
    thresholds: Annotated[
        str | None,
        typer.Option(metavar="J,J,...", help="Returns to predict for, increasing; default: the fitted thresholds."),
    ] = None,
    ceiling: CeilingOption = None,
    new_task: NewTask = False,
    evaluations: Annotated[
        str | None,
        typer.Option(
            metavar="EVERY|STEP,STEP,...|crossing",
            help="When new runs are evaluated: every so many env steps, at these env steps, or crossing for the "
            "crossing itself, not rounded up to an evaluation. Default: as often as the task's fitted runs; crossing "
            "where they are not evaluated at multiples of one interval.",
        ),
    ] = None,
) -> None:
    """Predict the env steps that new runs need for a return.

    PRED.csv has one row per configuration and threshold, with the columns of CONFIGS.csv and:

    \b
    evaluation_interval          of the fitted runs or as asked for; 0 where the
                                 quantiles are of the crossing itself; with a list,
                                 the column evaluation_steps instead
    threshold                    the return to reach
    q05 q10 q25 q50 q75 q90 q95  quantiles of the env steps at the evaluation in
                                 which a new run (one seed) first reaches it; inf
                                 for runs that never do
    law_q05 law_q50 law_q95      quantiles of the median run's env steps:
                                 parameter uncertainty alone, no seed noise
    p_reach                      probability that a new run ever reaches it; low at
                                 fitted thresholds that no run of the task reached,
                                 which may lie above what its runs can reach
    extrapolated                 true if the configuration lies outside its
                                 task's sweep or the threshold above the fitted
    extrapolation                on which axes and how far it lies outside
    """  # noqa: D301 - a backspace tells click to keep the lines of the table
    check_output(out, ".csv")
    schedule = parse_evaluations(evaluations)
    configs = read_configs(at)
    posterior = load_posterior(fit)
    named = posterior.named(configs)
    check_tasks(posterior, named["env_id"].unique(), new_task=new_task)
    note_shared_settings(posterior, named)
    predicted = posterior.predict(
        configs,
        thresholds=parse_thresholds(thresholds),
        ceiling=parse_ceiling(ceiling),
        new_task=new_task,
        evaluations=schedule,
    )
    write_csv(predicted, out)
    if evaluations is None:
        note_irregular(configs, predicted)


def parse_evaluations(text: str | None) -> float | list[float] | str | None:
    """Return the number, the list of numbers or the word "crossing" that the text holds, or None for None."""
    if text is None or text == "crossing":
        return text
    try:
        return [float(part) for part in text.split(",")] if "," in text else float(text)
    except ValueError:
        raise InputError(
            f"--evaluations must be EVERY, STEP,STEP,... or crossing; got '{text}'. Try --evaluations 1000."
        ) from None


def note_irregular(configs: "pd.DataFrame", predicted: "pd.DataFrame") -> None:
    """Note the tasks for which the crossing itself was predicted by default, because no interval fits their runs."""
    if "evaluation_interval" in configs or "evaluation_interval" not in predicted:
        return
    tasks = predicted.loc[predicted["evaluation_interval"] == 0, "env_id"].unique()
    if len(tasks):
        say(
            "note: fitted runs are not evaluated at multiples of one interval, so quantiles for "
            f"{', '.join(tasks)} are of the crossing itself, not rounded up to an evaluation. Give --evaluations if "
            "you know when the new runs are evaluated."
        )


def performance(
    fit: FitFile,
    at: Annotated[
        Path,
        typer.Option(
            metavar="CONFIGS.csv",
            help="The configurations: columns env_id, utd, batch_size, learning_rate, [model_size, env_steps].",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="RETURNS.csv", help="The table to write.")],
    env_steps: Annotated[
        float | None, typer.Option(metavar="D", help="Env steps of every run, if CONFIGS.csv has no such column.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="F", help="Cost of every run, in place of its env steps.")
    ] = None,
    env_step_price: EnvStepPrice = ENV_STEP_PRICE,
    flop_price: FlopPrice = 1.0,
    ceiling: CeilingOption = None,
    new_task: NewTask = False,
) -> None:
    """Predict the return that new runs reach.

    Give the length of the runs in env steps or as a budget. RETURNS.csv has one row per configuration, with the columns
    of CONFIGS.csv and:

    \b
    env_steps                    length of the run
    q05 q10 q25 q50 q75 q90 q95  quantiles of the return of a new run (one seed);
                                 -inf for runs below the lowest fitted threshold
    law_q05 law_q50 law_q95      quantiles of the median run's return: parameter
                                 uncertainty alone, no seed noise
    extrapolated                 true if the configuration lies outside its
                                 task's sweep or the return above the thresholds
    extrapolation                on which axes and how far it lies outside
    beyond_data                  true if the median return lies above every
                                 return that fitted runs of the task reached
    """  # noqa: D301 - a backspace tells click to keep the lines of the table
    check_output(out, ".csv")
    from bayescale.data.configurations import LENGTH

    configs = read_configs(at, LENGTH)
    import bayescale as bs

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit)
    named = posterior.named(configs)
    check_tasks(posterior, named["env_id"].unique(), new_task=new_task)
    note_shared_settings(posterior, named)
    table = bs.performance(
        posterior,
        configs,
        env_steps=env_steps,
        budget=budget,
        prices=prices,
        ceiling=parse_ceiling(ceiling),
        new_task=new_task,
    )
    write_csv(table, out)


def frontier(
    fit: FitFile,
    env: Task,
    threshold: Annotated[
        float, typer.Option(metavar="J", help="The return to reach; at least the lowest fitted threshold.")
    ],
    out: Annotated[Path, typer.Option(metavar="FRONTIER.csv", help="The table to write.")],
    utd: Annotated[
        str | None,
        typer.Option(
            metavar="LO:HI:N",
            help="N UTDs from LO to HI, evenly spaced in logs; default: steps of a quarter of an octave from half the "
            "lowest to twice the highest swept.",
        ),
    ] = None,
    env_step_price: EnvStepPrice = ENV_STEP_PRICE,
    flop_price: FlopPrice = 1.0,
    risk: RiskMeasure = "mean",
    settings: Annotated[
        str,
        typer.Option(
            metavar="cheapest|law",
            help="The setting at each UTD. cheapest: the one of least risk inside the swept ranges. law: the best "
            "batch size and learning rate of each posterior draw, wherever they lie.",
        ),
    ] = "cheapest",
    within: WithinOption = None,
    model_size: ModelSize = None,
    ceiling: CeilingOption = None,
    new_task: NewTask = False,
    cut_short: CutShort = False,
) -> None:
    """Tabulate the data and compute that a return needs, by UTD.

    FRONTIER.csv has one row per UTD, with the setting of least cost there; the cheapest row inside the sweep is the
    choice of `bayescale allocate`. The first four columns below come as posterior quantiles, with the suffixes _q05
    _q50 _q95:

    \b
    batch_size     of the setting: one value, or with --settings law that of
                   each posterior draw
    learning_rate  likewise
    env_steps      env steps of the median run there; inf if it never reaches J
    flops          training flops of the median run there; inf likewise
    model_size     critic parameters of the setting
    risk           the cost that the setting minimises, as --risk defines it
    excess         risk over the least risk inside the sweep, minus 1
    p_reach        probability that a run ever reaches J
    failed         true if all candidates lie nearest to settings that failed
    extrapolated   true if the setting lies outside the sweep or J above the
                   fitted thresholds
    extrapolation  on which axes and how far it lies outside
    """  # noqa: D301 - a backspace tells click to keep the lines of the table
    check_output(out, ".csv")
    grid, limits = parse_utd(utd), parse_within(within)
    import bayescale as bs
    from bayescale.decisions.candidates import crossings_of_task

    posterior = load_posterior(fit, env, new_task=new_task)
    note_beyond(posterior, threshold)
    front = bs.frontier(
        posterior,
        env_id=env,
        threshold=threshold,
        utd=grid,
        prices=bs.Prices(flop=flop_price, env_step=env_step_price),
        risk=risk,
        settings=settings,
        within=limits,
        model_size=model_size,
        ceiling=parse_ceiling(ceiling),
        new_task=new_task,
        cut_short=cut_short,
    )
    table = front.table()
    write_csv(table, out)
    note_shared_settings(posterior, table.assign(env_id=env))
    if settings == "cheapest":
        return
    for axis in ("batch_size", "learning_rate"):
        best, swept = table[f"{axis}_q50"], crossings_of_task(posterior, env)[axis]
        outside = int((~best.between(swept.min(), swept.max())).sum())
        if swept.nunique() > 1 and outside:
            say(
                f"note: the best {axis} lies outside the {swept.min():g} to {swept.max():g} of the sweep at {outside} "
                f"of {counted(len(table), 'UTD')}. These rows extrapolate; --settings cheapest stays within the sweep."
            )
