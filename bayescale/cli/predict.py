"""The commands that predict."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.arguments import counted
from bayescale.cli.files import (
    load_posterior,
    note_beyond,
    note_new_tasks,
    note_shared_settings,
    read_configs,
    write_csv,
)
from bayescale.cli.options import (
    CeilingOption,
    EnvStepPrice,
    FitFile,
    FlopPrice,
    ModelSize,
    Task,
    parse_ceiling,
    parse_thresholds,
    parse_utd,
)
from bayescale.cli.progress import say
from bayescale.data.output_files import check_output


def predict(
    fit: FitFile,
    at: Annotated[
        Path, typer.Option(metavar="CONFIGS.csv", help="Columns env_id, utd, batch_size, learning_rate, [model_size].")
    ],
    out: Annotated[Path, typer.Option(metavar="PRED.csv", help="The table to write.")],
    thresholds: Annotated[
        str | None, typer.Option(metavar="J,J,...", help="Increasing returns; default: those fitted.")
    ] = None,
    ceiling: CeilingOption = None,
) -> None:
    """Predict the env steps until new runs reach each threshold.

    PRED.csv has a row per configuration and threshold: q05 q10 q25 q50 q75 q90 q95, env steps until a new run, one
    seed, is seen to reach it (inf where the quantile falls on runs that never do); law_q05 law_q50 law_q95, those of
    the median run, which are uncertain by the parameters alone; p_reach, the chance to reach it at all; extrapolated,
    whether the configuration lies outside its task's sweep or the threshold above those fitted.
    """
    check_output(out, ".csv")
    configs = read_configs(at)
    posterior = load_posterior(fit)
    named = posterior.named(configs)
    note_new_tasks(posterior, named["env_id"].unique())
    note_shared_settings(posterior, named)
    write_csv(posterior.predict(configs, parse_thresholds(thresholds), parse_ceiling(ceiling)), out)


def performance(
    fit: FitFile,
    at: Annotated[
        Path,
        typer.Option(
            metavar="CONFIGS.csv", help="Columns env_id, utd, batch_size, learning_rate, [model_size, env_steps]."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="RETURNS.csv", help="The table to write.")],
    env_steps: Annotated[
        float | None, typer.Option(metavar="D", help="Length of every run, if the table has none.")
    ] = None,
    budget: Annotated[float | None, typer.Option(metavar="F", help="Of every run, in place of its length.")] = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    ceiling: CeilingOption = None,
) -> None:
    """Predict the return that new runs reach within a length or a budget.

    RETURNS.csv has a row per configuration: env_steps; q05 q10 q25 q50 q75 q90 q95, the return of a new run, one seed
    (-inf below the lowest fitted threshold); law_q05 law_q50 law_q95, that of the median run; extrapolated.
    """
    check_output(out, ".csv")
    from bayescale.data.configurations import LENGTH

    configs = read_configs(at, LENGTH)
    import bayescale as bs

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit)
    named = posterior.named(configs)
    note_new_tasks(posterior, named["env_id"].unique())
    note_shared_settings(posterior, named)
    write_csv(bs.performance(posterior, configs, env_steps, budget, prices, parse_ceiling(ceiling)), out)


def frontier(
    fit: FitFile,
    env: Task,
    threshold: Annotated[
        float, typer.Option(metavar="J", help="The return to reach, from the lowest fitted threshold on.")
    ],
    out: Annotated[Path, typer.Option(metavar="FRONTIER.csv", help="The table to write.")],
    utd: Annotated[
        str | None, typer.Option(metavar="LO:HI:N", help="N UTDs from LO to HI, evenly spaced in logs.")
    ] = None,
    model_size: ModelSize = None,
    ceiling: CeilingOption = None,
) -> None:
    """Tabulate data and compute over UTD, with bands.

    FRONTIER.csv has a row per UTD: with the suffixes _q05 _q50 _q95, quantiles over the posterior, the best batch_size
    and learning_rate and what the median run needs there, env_steps and flops (inf where it never gets there); p_reach,
    the chance of a run to get there at all; extrapolated, whether the UTD lies outside the sweep or J above the fitted
    thresholds.
    """
    check_output(out, ".csv")
    grid = parse_utd(utd)
    import bayescale as bs
    from bayescale.decisions.candidates import own_rows

    posterior = load_posterior(fit, env)
    note_beyond(posterior, threshold)
    table = bs.frontier(posterior, env, threshold, grid, model_size, parse_ceiling(ceiling)).table()
    write_csv(table, out)
    note_shared_settings(posterior, table.assign(env_id=env))
    for axis in ("batch_size", "learning_rate"):
        best, swept = table[f"{axis}_q50"], own_rows(posterior, env)[axis]
        outside = int((~best.between(swept.min(), swept.max())).sum())
        if swept.nunique() > 1 and outside:
            say(
                f"note: the best {axis} lies outside the {swept.min():g} to {swept.max():g} of the sweep at {outside} "
                f"of {counted(len(table), 'UTD')}; there the frontier leans on the law. allocate keeps to the sweep."
            )
