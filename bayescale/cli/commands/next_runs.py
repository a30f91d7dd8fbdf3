"""Run the command that chooses the next runs to buy."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bayescale.arguments import counted
from bayescale.cli.commands.decide import check_budget
from bayescale.cli.files import check_tasks, load_posterior, read_candidates, write_csv
from bayescale.cli.options import (
    MAX_SEED,
    CutShort,
    EnvStepPrice,
    FitFile,
    FlopPrice,
    ModelSize,
    NewTask,
    WithinOption,
    parse_within,
)
from bayescale.cli.terminal import say
from bayescale.data.output_files import check_output, written
from bayescale.decisions.default_prices import ENV_STEP_PRICE


def next_runs(
    fit: FitFile,
    candidates: Annotated[
        Path,
        typer.Option(
            metavar="CONFIGS.csv",
            help="Runs to choose from: columns env_id, utd, batch_size, learning_rate, [model_size, env_steps].",
        ),
    ],
    budget: Annotated[float, typer.Option(metavar="F", help="Cost of all chosen runs together.")],
    out: Annotated[Path, typer.Option(metavar="NEXT.csv", help="The table to write.")],
    n: Annotated[int, typer.Option("--n", min=1, metavar="N", help="Choose at most N runs.")] = 8,
    env: Annotated[
        str | None,
        typer.Option(metavar="ENV", help="The task to choose a configuration for; default: the candidates' tasks."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="J", help="The return to choose a configuration for; default: the highest within reach."),
    ] = None,
    env_step_price: EnvStepPrice = ENV_STEP_PRICE,
    flop_price: FlopPrice = 1.0,
    within: WithinOption = None,
    model_size: ModelSize = None,
    new_task: NewTask = False,
    cut_short: CutShort = False,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of the simulated results.")] = 0,
) -> None:
    """Choose which runs to add to the sweep, by the value of their information per cost.

    The result of a run may change which configuration looks best and so make later runs cheaper. NEXT.csv is a
    purchase list: one row per configuration to run, with the columns of CONFIGS.csv and those below. Runs that are
    worth nothing are not listed. NEXT.json, beside it, has the same rows with the prices, the fit and the versions that
    they rest on.

    \b
    score       expected saving by knowing the results of the row's runs, over
                their cost; 0.02 means that they pay for themselves after 50
                uses of the configuration
    cost        cost of one run, in the unit of the prices
    rank        1 for the row to do first
    seeds       number of runs to do, each with a seed that it has not had yet
    total_cost  cost of these runs together
    """  # noqa: D301 - a backspace tells click to keep the lines of the list
    check_budget(budget)
    check_output(out, ".csv")
    table = read_candidates(candidates)
    import bayescale as bs
    from bayescale.decisions.experiments.next_experiments import purchase_list
    from bayescale.decisions.records import basis_of

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit)
    named = posterior.named(table)
    check_tasks(posterior, [env] if env else named["env_id"].unique(), new_task=new_task)
    plan = bs.next_experiments(
        posterior,
        table,
        budget=budget,
        n=n,
        env_id=env,
        threshold=threshold,
        prices=prices,
        within=parse_within(within),
        model_size=model_size,
        seed=seed,
        report=say,
        new_task=new_task,
        cut_short=cut_short,
    )
    if not within and (beyond := int(posterior.extrapolated(named).sum())):
        say(
            f"note: {counted(beyond, 'candidate')} beyond the sweep. A run is valued by what it saves among the swept "
            "settings; give --within if the configuration may be chosen beyond the sweep."
        )
    purchases = purchase_list(plan)
    write_csv(purchases, out)
    basis = {"budget": budget, "basis": asdict(basis_of(posterior, prices, "mean"))}
    rows = json.loads(purchases.to_json(orient="records", double_precision=15))
    with written(out.with_suffix(".json")) as partial:
        partial.write_text(json.dumps({**basis, "runs": rows}, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {out.with_suffix('.json')}")
    if purchases.empty:
        say(
            "note: no run is listed, because no candidate within the budget is expected to change the choice of the "
            "configuration."
        )
    elif worthless := int((plan["score"] == 0).sum()):
        say(f"note: {counted(worthless, 'further run')} within the budget, worth nothing, left out.")
