"""Run the command that fits the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from bayescale.arguments import three_digits
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
from bayescale.cli.terminal import say
from bayescale.data.output_files import check_output
from bayescale.errors import BayeScaleError, NotConverged

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
    warmup: Warmup = 200,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, metavar="N", help="Seed of the sampler.")] = 0,
    keep_unconverged: Annotated[
        Path | None,
        typer.Option(
            metavar="DRAWS.nc",
            help="If the chains do not converge, write their draws to this file. `report` shows it for a diagnosis; "
            "commands that predict or decide refuse it.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a fit that Ctrl-C or SIGTERM interrupted, with the same options."),
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

    Before it samples, the command says what the curves can tell and how long it will take; afterwards, which parts of
    the law the prior determines. An interrupted fit keeps FIT.nc.checkpoint.npz, and --resume goes on from it.
    """
    check_output(out, ".nc")
    if keep_unconverged is not None:
        check_output(keep_unconverged, ".nc")
    chosen_thresholds = parse_thresholds(thresholds)
    import bayescale as bs
    from bayescale.inference.checkpoints import checkpoint_beside

    table = read_curve_files(curves, resumed=resumed, missing_end=missing_end, ignore=ignore)
    crossings = bs.time_to_threshold(
        table, thresholds=chosen_thresholds, return_scale=return_scale, reset_period=reset_period
    )
    checkpoint = checkpoint_beside(out)
    if checkpoint.exists() and not resume:
        say(f"note: {checkpoint} holds an interrupted fit, which --resume would go on with; this fit starts anew.")
    try:
        posterior = bs.fit(
            crossings,
            seed=seed,
            chains=chains,
            draws=draws,
            warmup=warmup,
            method="fast" if fast else "hmc",
            progress=True,
            tell=say,
            checkpoint=checkpoint,
            resume=resume,
        )
    except NotConverged as error:
        if keep_unconverged is not None and error.posterior is not None:
            cast("Posterior", error.posterior).save(keep_unconverged)
            say(f"wrote {keep_unconverged}, for a diagnosis with `bayescale report`.")
        raise
    except KeyboardInterrupt:
        if checkpoint.exists():
            raise FitInterrupted(
                f"interrupted; {checkpoint} keeps what the chains have done. Go on with the same command and --resume."
            ) from None
        raise
    posterior.save(out)
    print(_fit_summary(posterior))
    print(f"wrote {out}")


class FitInterrupted(BayeScaleError):
    """Ctrl-C or SIGTERM ended the fit; the checkpoint is kept."""

    exit_code = 130


def _fit_summary(posterior: "Posterior") -> str:
    crossings, thresholds = posterior.crossings, posterior.thresholds
    runs = len(crossings) // len(thresholds)
    span = three_digits(thresholds[0])
    if len(thresholds) > 1:
        span = f"{len(thresholds)} from {span} to {three_digits(thresholds[-1])}"
    return (
        f"runs: {runs:,}, tasks: {len(posterior.tasks):,}, threshold{'s' * (len(thresholds) > 1)}: {span}, "
        f"right-censored crossings: {crossings['censored'].mean():.0%}\n{posterior.status.value}"
    )
