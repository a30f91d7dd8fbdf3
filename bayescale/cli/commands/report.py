"""Run the commands that write a page to open in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.files import read_curve_files
from bayescale.cli.options import (
    EnvStepPrice,
    FitFile,
    FlopPrice,
    Ignore,
    MissingEnd,
    ModelSize,
    Resumed,
    ReturnScaleFile,
)
from bayescale.cli.terminal import say
from bayescale.data.output_files import check_out_folder, check_output
from bayescale.decisions.default_prices import ENV_STEP_PRICE


def report(
    fit: FitFile,
    out: Annotated[Path, typer.Option(metavar="REPORT.html", help="The page to write.")],
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="J",
            help="The fitted return that the page starts with; default: for each task the highest that half of its "
            "runs reached.",
        ),
    ] = None,
    curves: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CURVES",
            help="The learning curves that were fitted, to draw them: a file or a quoted glob; repeat the option for "
            "more.",
        ),
    ] = None,
    resumed: Resumed = None,
    missing_end: MissingEnd = None,
    ignore: Ignore = None,
    return_scale: ReturnScaleFile = None,
    env_step_price: EnvStepPrice = ENV_STEP_PRICE,
    flop_price: FlopPrice = 1.0,
    model_size: ModelSize = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TABLE.csv",
            help="Scores on held-out runs that `bayescale compare` wrote, to show them; repeat the option for more.",
        ),
    ] = None,
) -> None:
    """Write a fit as one live HTML page.

    The page recommends a setting for a task and a return, or within a budget, and says how far to trust it. Its reader
    sets prices and risk, and the page computes anew. It is one file, which opens without a network.
    """
    check_output(out, ".html")
    import bayescale as bs

    posterior, prices = bs.load(fit), bs.Prices(flop=flop_price, env_step=env_step_price)
    table = read_curve_files(curves, resumed=resumed, missing_end=missing_end, ignore=ignore) if curves else None
    bs.report(
        posterior,
        out,
        curves=table,
        prices=prices,
        threshold=threshold,
        return_scale=return_scale,
        model_size=model_size,
        held_out=held_out,
        tell=say,
    )
    print(f"wrote {out}")


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the fit and the report.")] = Path(
        "bayescale-demo"
    ),
) -> None:
    """Run the whole chain on the shipped Pendulum sweep.

    Fits the learning curves of 240 SAC runs, chooses a configuration and writes DIR/curves.parquet, DIR/demo.nc and
    DIR/report.html. Takes about a minute.
    """
    check_out_folder(out)
    from bayescale.workflow import demo

    print(demo(out))
