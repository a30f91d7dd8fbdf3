"""Run the command that fits the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.files import read_curve_files
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
from bayescale.data.output_files import check_output

if TYPE_CHECKING:
    from bayescale.posterior.posterior import Posterior


def fit(
    curves: CurveFiles,
    out: Annotated[Path, typer.Option(metavar="FIT.nc", help="The file to write.")],
    thresholds: Thresholds = None,
    return_scale: ReturnScaleFile = None,
    reset_period: ResetPeriod = None,
    resumed: Resumed = None,
    missing_end: MissingEnd = None,
    ignore: Ignore = None,
    chains: Chains = 4,
    draws: Draws = 1000,
    warmup: Warmup = 500,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of the sampler.")] = 0,
    allow_unconverged: Annotated[
        bool,
        typer.Option(
            "--allow-unconverged",
            help="Write FIT.nc even if the chains have not converged; the printed status says so.",
        ),
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Run short chains for a first look; fall back to full chains if they fail.")
    ] = False,
) -> None:
    """Fit the Bayesian model to learning curves.

    CURVES have one row per evaluation of a run. Their columns: algorithm, env_id (the task), utd (gradient updates per
    env step), batch_size, learning_rate, seed, env_steps, episode_return; and where they vary, suite and model_size
    (critic parameters). A column status says how a run ended: finished, stopped early, diverged, crashed or running. A
    row without a return is left out. FIT.nc holds the posterior: the other commands, Python and ArviZ read it.
    """
    check_output(out, ".nc")
    chosen_thresholds = parse_thresholds(thresholds)
    import bayescale as bs

    table = read_curve_files(curves, resumed=resumed, missing_end=missing_end, ignore=ignore)
    crossings = bs.time_to_threshold(
        table, thresholds=chosen_thresholds, return_scale=return_scale, reset_period=reset_period
    )
    posterior = bs.fit(
        crossings,
        seed=seed,
        chains=chains,
        draws=draws,
        warmup=warmup,
        require_convergence=not allow_unconverged,
        method="fast" if fast else "nuts",
    )
    posterior.save(out)
    print(_fit_summary(posterior))
    print(f"wrote {out}")


def _fit_summary(posterior: "Posterior") -> str:
    crossings, thresholds = posterior.crossings, posterior.thresholds
    runs = len(crossings) // len(thresholds)
    span = f"{thresholds[0]:g}"
    if len(thresholds) > 1:
        span = f"{len(thresholds)} from {span} to {thresholds[-1]:g}"
    return (
        f"runs: {runs:,}, tasks: {len(posterior.tasks):,}, threshold{'s' * (len(thresholds) > 1)}: {span}, "
        f"right-censored crossings: {crossings['censored'].mean():.0%}\n{posterior.status.value}"
    )
