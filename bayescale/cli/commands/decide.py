"""Run the commands that decide what to run."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.arguments import counted, percent, three_digits
from bayescale.cli.files import load_posterior, note_beyond
from bayescale.cli.options import (
    AsJson,
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
    parse_within,
)
from bayescale.cli.terminal import table_text
from bayescale.data.output_files import check_output, written
from bayescale.decisions.default_prices import ENV_STEP_PRICE
from bayescale.errors import Infeasible, InputError

if TYPE_CHECKING:
    from bayescale.decisions.portfolio import Portfolio
    from bayescale.decisions.records import Allocation
    from bayescale.posterior.outcomes import RunCounts
    from bayescale.posterior.posterior import Posterior


def allocate(
    fit: FitFile,
    env: Task,
    budget: Annotated[
        float | None, typer.Option(metavar="F", help="Reach the highest return that this cost allows.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(metavar="J", help="Reach this return at the least cost.")] = None,
    env_step_price: EnvStepPrice = ENV_STEP_PRICE,
    flop_price: FlopPrice = 1.0,
    risk: RiskMeasure = "mean",
    model_size: ModelSize = None,
    ceiling: CeilingOption = None,
    new_task: NewTask = False,
    cut_short: CutShort = False,
    within: WithinOption = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Also write the choice to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Choose the best configuration for a budget or for a return.

    --threshold finds the configuration that reaches this return at the least cost. --budget finds the highest fitted
    threshold within the budget. The choice is one UTD, batch size, learning rate and model size inside the swept
    ranges, or those of --within: the cheapest row of `bayescale frontier`. The table and FILE.json also have:

    \b
    p_success  probability that a run of it reaches the return, within the
               budget if there is one
    env_steps  env steps of the median run: mean and 5%, 50%, 95% posterior
               quantiles, as for the next three
    flops      training flops of the median run
    budget     expected cost: the cost of the median run over its chance to
               reach the return, as a run that fails is paid for and repeated,
               up to 1,000 runs
    regret     cost over the cost of the best configuration under the same
               posterior draw, minus 1
    risk       the cost that the choice minimises, as --risk defines it

    FILE.json also has the number of fitted runs of the task (runs) and of those that reached the return (runs_reached),
    the swept settings that failed (left_out), how far the choice lies outside the sweep (extrapolation), and the
    prices, risk measure, quantile levels and fit that it rests on (basis).
    """  # noqa: D301 - a backspace tells click to keep the lines of the list
    if (budget is None) == (threshold is None):
        raise InputError("allocate needs one of --budget and --threshold; give exactly one.")
    if budget is not None:
        check_budget(budget)
    if out is not None:
        check_output(out, ".json")
    import bayescale as bs
    from bayescale.decisions.allocation import at_edge

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit, env, new_task=new_task)
    if threshold is not None:
        note_beyond(posterior, threshold)
    choice = bs.allocate(
        posterior,
        env_id=env,
        budget=budget,
        threshold=threshold,
        prices=prices,
        risk=risk,
        model_size=model_size,
        ceiling=parse_ceiling(ceiling),
        new_task=new_task,
        cut_short=cut_short,
        within=parse_within(within),
    )
    _write_json(choice, out)
    lines = [] if as_json else [_allocation_table(choice, risk)]
    if math.isfinite(choice.risk) and (axes := at_edge(posterior, choice)):
        lines.append(
            f"At the edge of the sweep: {', '.join(axes)}. The best value may lie beyond; a wider sweep would show it."
        )
    if budget is not None and choice.feasible and choice.threshold == posterior.thresholds[-1]:
        lines.append(_advice_beyond_thresholds(posterior, budget / choice.risk))
    if out is not None:
        lines.append(f"wrote {out}")
    print(choice.to_json() if as_json else "\n".join(lines))
    if not math.isfinite(choice.risk):
        if choice.p_success == 0:
            raise Infeasible(
                f"no run reaches return {choice.threshold:g} on {env}: it lies above the ceiling or above every return "
                "that the fit holds possible. Lower it."
            )
        if not risk.startswith("run:"):
            raise Infeasible(
                f"return {choice.threshold:g} on {env} may lie beyond what any run reaches, so no budget bounds the "
                f"{risk} of the cost. Ask for a budget that suffices with a probability: --risk prob:0.5."
            )
        raise Infeasible(
            f"no configuration reaches return {choice.threshold:g} on {env} with the chance of {risk}; the likeliest, "
            f"shown, reaches it with probability {percent(choice.p_success)}. Lower the return or the chance."
        )
    if not choice.feasible:
        raise Infeasible(
            f"the budget {budget:g} does not reach even return {choice.threshold:g} on {env}; "
            f"the cheapest choice, shown, costs {three_digits(choice.risk)} ({risk}). Raise the budget."
        )


def portfolio(
    fit: FitFile,
    budget: Annotated[float, typer.Option(metavar="F", help="Cost of one run of each task, all together.")],
    env: Annotated[
        list[str] | None, typer.Option(metavar="ENV", help="A task; repeat the option for more; default: all tasks.")
    ] = None,
    env_step_price: EnvStepPrice = ENV_STEP_PRICE,
    flop_price: FlopPrice = 1.0,
    model_size: ModelSize = None,
    new_task: NewTask = False,
    cut_short: CutShort = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Also write the choices to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Split one budget over several tasks.

    Each task gets one run, with its own configuration and fitted threshold. The split maximises the sum of the
    thresholds while the expected cost stays within the budget. FILE.json has:

    \b
    choices    one choice per task, as `bayescale allocate` writes it
    feasible   false if the budget does not cover the cheapest choices
    budget     cost of the choices together
    p_within   probability that this cost is at most the budget given
    """  # noqa: D301 - a backspace tells click to keep the lines of the list
    check_budget(budget)
    if out is not None:
        check_output(out, ".json")
    import bayescale as bs

    prices = bs.Prices(flop=flop_price, env_step=env_step_price)
    posterior = load_posterior(fit, *(env or ()), new_task=new_task)
    split = bs.portfolio(
        posterior,
        budget=budget,
        env_ids=env,
        prices=prices,
        model_size=model_size,
        new_task=new_task,
        cut_short=cut_short,
    )
    _write_json(split, out)
    print(split.to_json() if as_json else "\n".join([_portfolio_table(split), *([f"wrote {out}"] if out else [])]))
    if not split.feasible:
        raise Infeasible(
            f"the budget {budget:g} does not reach even return {posterior.thresholds[0]:g} on all of the tasks; the "
            f"cheapest choices, shown, cost {three_digits(split.budget['mean'])} together. Raise the budget or drop a "
            "task."
        )


def check_budget(budget: float) -> None:
    """Raise InputError unless the budget is finite and > 0. Naming the option here spares reading the fit first."""
    if not 0 < budget < math.inf:
        raise InputError(f"--budget must be finite and > 0; got {budget:g}. Correct it.")


def reached_by(env_id: str, counts: "RunCounts") -> str:
    """Return how many fitted runs of the task reached the return, and what it means if few did."""
    few = ", fewer than half: the answer rests on the model more than on data" if counts.few else ""
    return f"{counts.reached:,} of {counted(counts.runs, 'fitted run')} on {env_id} reached this return{few}"


def _write_json(decision: "Allocation | Portfolio", out: Path | None) -> None:
    if out is not None:
        with written(out) as partial:
            partial.write_text(decision.to_json() + "\n", encoding="utf-8")


def _allocation_table(choice: "Allocation", risk: str) -> str:
    from bayescale.posterior.outcomes import RunCounts, listed

    title = (
        f"{choice.env_id}, return {choice.threshold:g}: UTD {choice.utd:.3g}, batch size {choice.batch_size:,}, "
        f"learning rate {choice.learning_rate:.3g}, {choice.model_size:,} critic parameters; "
        f"chance that a run ever reaches it {percent(choice.p_success)}"
    )
    if choice.runs and choice.runs_reached is not None:
        title += f"\n{reached_by(choice.env_id, RunCounts(choice.runs, choice.runs_reached))}"
    if choice.left_out:
        title += (
            f"\nleft out, because all runs there diverged, crashed or ended early below this return: "
            f"{listed(choice.left_out)} (if the runs were only cut short, give --cut-short)"
        )
    if choice.extrapolation:
        title += f"\nextrapolates: {choice.extrapolation}"
    rows = []
    for name, shown in {"env_steps": "env steps", "flops": "flops", "budget": "cost", "regret": "regret"}.items():
        summary = getattr(choice, name)
        rows.append([shown, *(three_digits(summary[key]) for key in ("mean", "q05", "q50", "q95"))])
    if risk != "mean":
        rows.append([risk, three_digits(choice.risk)])
    return f"{title}\n{table_text(['', 'mean', '5%', '50%', '95%'], rows)}"


def _advice_beyond_thresholds(posterior: "Posterior", times: float) -> str:
    """Return advice for a budget that is this many times what the highest fitted threshold costs."""
    from bayescale.posterior.extrapolation import FEWEST_THRESHOLDS

    advice = f"Fit at least {FEWEST_THRESHOLDS} thresholds to ask for returns beyond it."
    if len(posterior.thresholds) >= FEWEST_THRESHOLDS:
        advice = "Ask for a return beyond it with --threshold, or for the return of a run with `bayescale performance`."
    return f"The budget is {three_digits(times)} times what the highest fitted threshold costs. {advice}"


def _portfolio_table(split: "Portfolio") -> str:
    head = ["task", "return", "UTD", "batch size", "learning rate", "critic parameters", "env steps", "cost", "chance"]
    rows = [
        [
            choice.env_id,
            f"{choice.threshold:g}",
            f"{choice.utd:.3g}",
            f"{choice.batch_size:,}",
            f"{choice.learning_rate:.3g}",
            f"{choice.model_size:,}",
            three_digits(choice.env_steps["q50"]),
            three_digits(choice.budget["mean"]),
            percent(choice.p_success),
        ]
        for choice in split.choices
    ]
    total = split.budget
    return (
        f"{table_text(head, rows)}\ntogether {three_digits(total['mean'])} (90%: {three_digits(total['q05'])} to "
        f"{three_digits(total['q95'])}); within the budget with probability {percent(split.p_within)}"
    )
