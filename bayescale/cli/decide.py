"""The commands that decide: what to run, and what to try next."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.files import load_posterior, note_beyond, note_new_tasks, read_candidates, write_csv
from bayescale.cli.options import (
    MAX_SEED,
    CeilingOption,
    EnvStepPrice,
    FitFile,
    FlopPrice,
    ModelSize,
    Task,
    parse_ceiling,
)
from bayescale.cli.progress import say
from bayescale.data.output_files import check_output, written
from bayescale.errors import Infeasible, InputError

if TYPE_CHECKING:
    from bayescale.decisions.allocation import Allocation
    from bayescale.decisions.portfolio import Portfolio


def allocate(
    fit: FitFile,
    env: Task,
    budget: Annotated[
        float | None, typer.Option(metavar="F", help="Reach the highest return within this budget.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(metavar="J", help="Reach this return at the least cost.")] = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    risk: Annotated[
        str,
        typer.Option(
            metavar="mean|cvar:A|prob:A|run:A",
            help="What counts: mean, cvar:0.9, prob:0.9 of the median run's cost; run:0.9, of any one run's.",
        ),
    ] = "mean",
    model_size: ModelSize = None,
    ceiling: CeilingOption = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the choice here too.")] = None,
) -> None:
    """Choose what to run for a budget or for a return.

    With --threshold the setting of least cost for that return, with --budget the highest fitted threshold that is
    within it. The table and FILE.json have the setting and its chance of success, p_success; mean, 5%, 50% and 95%
    over the posterior of the median run's env_steps, flops and budget (its cost), and of regret, its cost over that of
    the best setting under the same draw, minus 1; and risk, the number that the choice minimises.
    """
    if (budget is None) == (threshold is None):
        raise InputError("allocate needs one of --budget and --threshold; give exactly one.")
    if budget is not None:
        _check_budget(budget)
    if out is not None:
        check_output(out, ".json")
    import bayescale as bs
    from bayescale.decisions.allocation import at_edge
    from bayescale.posterior.extrapolation import FEWEST

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit, env)
    if threshold is not None:
        note_beyond(posterior, threshold)
    choice = bs.allocate(posterior, env, budget, threshold, prices, risk, model_size, parse_ceiling(ceiling))
    _write_json(choice, out)
    print(_allocation_table(choice, risk))
    if math.isfinite(choice.risk) and (axes := at_edge(posterior, choice)):
        print(f"At the edge of the sweep: {', '.join(axes)}. The best may lie beyond; a wider sweep would tell.")
    if budget is not None and choice.feasible and choice.threshold == posterior.thresholds[-1]:
        asks = "--threshold asks for returns beyond it, and `bayescale performance` how far a run gets"
        needs = f"returns beyond it need {FEWEST} fitted thresholds"
        told = asks if len(posterior.thresholds) >= FEWEST else needs
        print(f"The budget is {budget / choice.risk:.3g} times what the highest fitted threshold takes; {told}.")
    if out is not None:
        print(f"wrote {out}")
    if not math.isfinite(choice.risk):
        if choice.p_success == 0:
            raise Infeasible(
                f"no run reaches return {choice.threshold:g} on {env}: it lies above the ceiling or all that the fit "
                "holds possible. Lower it."
            )
        if not risk.startswith("run:"):
            raise Infeasible(
                f"return {choice.threshold:g} on {env} may lie beyond what any run reaches, so that no budget bounds "
                f"the {risk} of the cost; ask for one that suffices with a probability, --risk prob:0.5."
            )
        raise Infeasible(
            f"at no setting of the sweep does a run reach return {choice.threshold:g} on {env} with the chance of "
            f"{risk}; at the likeliest, shown, it is {choice.p_success:.0%}."
        )
    if not choice.feasible:
        raise Infeasible(
            f"the budget {budget:g} does not reach even return {choice.threshold:g} on {env}; "
            f"the cheapest choice, shown, costs {choice.risk:.3g} ({risk})."
        )


def portfolio(
    fit: FitFile,
    budget: Annotated[float, typer.Option(metavar="F", help="For one run of each task together.")],
    env: Annotated[list[str] | None, typer.Option(metavar="ENV", help="A task, again for each; default: all.")] = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    model_size: ModelSize = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the choices here too.")] = None,
) -> None:
    """Split a budget over several tasks, so that the returns they reach add up to most.

    One run of each task, at a setting and a fitted threshold of its own, within the expected cost. FILE.json has the
    choices as `allocate` writes them; feasible; the budget that they need together; and p_within, the chance that it is
    at most the one given.
    """
    _check_budget(budget)
    if out is not None:
        check_output(out, ".json")
    import bayescale as bs

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit, *(env or ()))
    split = bs.portfolio(posterior, budget, env, prices, model_size)
    _write_json(split, out)
    print(_portfolio_table(split))
    if out is not None:
        print(f"wrote {out}")
    if not split.feasible:
        raise Infeasible(
            f"the budget {budget:g} does not reach even return {posterior.thresholds[0]:g} on all of the tasks; the "
            f"cheapest choices, shown, cost {split.budget['mean']:.3g} together."
        )


def next_runs(
    fit: FitFile,
    candidates: Annotated[
        Path,
        typer.Option(metavar="CONFIGS.csv", help="Columns env_id, utd, batch_size, learning_rate, [env_steps]."),
    ],
    budget: Annotated[float, typer.Option(metavar="F", help="For all runs together.")],
    out: Annotated[Path, typer.Option(metavar="NEXT.csv", help="The table to write.")],
    n: Annotated[int, typer.Option("--n", min=1, metavar="N", help="Most runs.")] = 8,
    env: Annotated[
        str | None, typer.Option(metavar="ENV", help="The task to decide about; default: those of the candidates.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="J", help="The return to decide about; default: the highest threshold within reach."),
    ] = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    model_size: ModelSize = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the simulated results.")] = 0,
) -> None:
    """Choose the runs that teach most for their cost.

    Each is expected to make the choice of a setting cheaper, by what its result would change. NEXT.csv has the chosen
    candidates in order of rank: their columns; score, the expected value of their result over their cost (0.02: the run
    pays for itself once the setting has been used 50 times); cost, in the unit of the prices; rank.
    """
    _check_budget(budget)
    check_output(out, ".csv")
    table = read_candidates(candidates)
    import bayescale as bs

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit)
    note_new_tasks(posterior, [env] if env else posterior.named(table)["env_id"].unique())
    plan = bs.next_experiments(posterior, table, budget, n, env, threshold, prices, model_size, seed, say)
    write_csv(plan, out)
    worthless = plan.loc[plan["score"] == 0, "rank"]
    if len(worthless):
        say(
            f"note: rank {', '.join(map(str, worthless))}: score 0, the cheapest run, as none that the budget holds is "
            "expected to change the choice among the swept settings."
        )


def _check_budget(budget: float) -> None:
    """Before the fit is read, with the name of the option."""
    if not 0 < budget < math.inf:
        raise InputError(f"--budget must be finite and > 0; got {budget:g}. Correct it.")


def _write_json(decision: "Allocation | Portfolio", out: Path | None) -> None:
    if out is not None:
        with written(out) as partial:
            partial.write_text(decision.to_json() + "\n", encoding="utf-8")


def _allocation_table(choice: "Allocation", risk: str) -> str:
    setting = f"UTD {choice.utd:.3g}, batch size {choice.batch_size:.4g}, learning rate {choice.learning_rate:.3g}"
    setting += f", {choice.model_size:,} critic parameters"
    lines = [
        f"{choice.env_id}, return {choice.threshold:g}: {setting}; chance of success {choice.p_success:.0%}",
        f"{'':10}{'mean':>11}{'5%':>11}{'50%':>11}{'95%':>11}",
    ]
    for name in ("env_steps", "flops", "budget", "regret"):
        summary = getattr(choice, name)
        lines.append(f"{name:10}" + "".join(f"{summary[key]:>11.3g}" for key in ("mean", "q05", "q50", "q95")))
    if risk != "mean":
        lines.append(f"{risk:10}{choice.risk:>11.3g}")
    return "\n".join(lines)


def _portfolio_table(split: "Portfolio") -> str:
    head = ["task", "return", "UTD", "batch size", "learning rate", "critic", "env steps", "cost", "reached"]
    rows = [
        [
            choice.env_id,
            f"{choice.threshold:g}",
            f"{choice.utd:.3g}",
            f"{choice.batch_size}",
            f"{choice.learning_rate:.3g}",
            f"{choice.model_size:,}",
            f"{choice.env_steps['q50']:.3g}",
            f"{choice.budget['mean']:.3g}",
            f"{choice.p_success:.0%}",
        ]
        for choice in split.choices
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{'<' if i == 0 else '>'}{widths[i]}}" for i, cell in enumerate(row)) for row in (head, *rows)
    ]
    total = split.budget
    lines.append(
        f"together {total['mean']:.3g} (90%: {total['q05']:.3g} to {total['q95']:.3g}); within the budget with "
        f"probability {split.p_within:.0%}"
    )
    return "\n".join(lines)
