"""The commands that end in a page to open."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.cli.options import EnvStepPrice, FitFile, FlopPrice, ModelSize, ReturnScaleFile
from bayescale.data.output_files import check_out_folder, check_output


def report(
    fit: FitFile,
    out: Annotated[Path, typer.Option(metavar="report.html", help="The page to write.")],
    curves: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CURVES", help="The fitted learning curves, to draw: a file or a quoted glob; repeatable."
        ),
    ] = None,
    return_scale: ReturnScaleFile = None,
    env_step_price: EnvStepPrice = 4e9,
    flop_price: FlopPrice = 1.0,
    model_size: ModelSize = None,
) -> None:
    """Write the fit and its figures as one HTML page."""
    check_output(out, ".html")
    import bayescale as bs

    posterior, prices = bs.load(fit), bs.Prices(flop=flop_price, env_step=env_step_price)
    table = bs.read_curves(*curves) if curves else None
    bs.report(posterior, out, table, prices, return_scale=return_scale, model_size=model_size)
    print(f"wrote {out}")


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the posterior and the report.")] = Path(
        "bayescale-demo"
    ),
) -> None:
    """Run the whole chain on the sweep that ships with it."""
    check_out_folder(out)
    from bayescale.workflow import demo

    print(demo(out))
