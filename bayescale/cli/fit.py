"""The command that fits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayescale.cli.options import (
    MAX_SEED,
    Chains,
    CurveFiles,
    Draws,
    ResetPeriod,
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
    out: Annotated[Path, typer.Option(metavar="FIT.nc", help="The posterior to write.")],
    thresholds: Thresholds = None,
    return_scale: ReturnScaleFile = None,
    reset_period: ResetPeriod = None,
    chains: Chains = 4,
    draws: Draws = 1000,
    warmup: Warmup = 500,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the sampler.")] = 0,
    allow_unconverged: Annotated[
        bool,
        typer.Option("--allow-unconverged", help="Write the draws as they are, and say so if they cannot be trusted."),
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Short chains for a first look; in full if they disagree.")
    ] = False,
) -> None:
    """Fit the joint model to learning curves.

    CURVES have a row per evaluation of a run, with the columns algorithm, env_id, utd (gradient updates per env step),
    batch_size, learning_rate, seed, env_steps, episode_return, and, where there are several, suite and model_size
    (critic parameters). FIT.nc holds the posterior, for the other commands, Python and ArviZ.
    """
    check_output(out, ".nc")
    levels = parse_thresholds(thresholds)
    import bayescale as bs

    table = bs.read_curves(*curves)
    crossings = bs.time_to_threshold(table, levels, return_scale, reset_period)
    posterior = bs.fit(
        crossings,
        seed,
        chains,
        draws,
        warmup,
        require_convergence=not allow_unconverged,
        method="fast" if fast else "nuts",
    )
    posterior.save(out)
    print(_fit_summary(posterior))
    print(f"wrote {out}")


def _fit_summary(posterior: "Posterior") -> str:
    crossings, levels = posterior.crossings, posterior.thresholds
    runs = len(crossings) // len(levels)
    span = f"{len(levels)} from {levels[0]:g} to {levels[-1]:g}" if len(levels) > 1 else f"{levels[0]:g}"
    return (
        f"runs: {runs}, tasks: {len(posterior.tasks)}, threshold{'s' * (len(levels) > 1)}: {span}, "
        f"{crossings['censored'].mean():.0%} of the crossings censored\n{posterior.status.value}"
    )
