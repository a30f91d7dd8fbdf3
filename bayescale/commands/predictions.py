"""The commands that predict."""

from pathlib import Path
from typing import Annotated

import typer

from bayescale.commands.files import load_posterior, read_configs, write_csv
from bayescale.commands.options import FitFile, ModelSize, Task, parse_utd
from bayescale.outputs import check_output


def predict(
    fit: FitFile,
    at: Annotated[
        Path, typer.Option(metavar="CONFIGS.csv", help="Columns env_id, utd, batch_size, learning_rate, [model_size].")
    ],
    out: Annotated[Path, typer.Option(metavar="PRED.csv", help="The table to write.")],
) -> None:
    """Predict the env steps until new runs reach each threshold."""
    check_output(out, ".csv")
    configs = read_configs(at)
    import bayescale as bs

    write_csv(bs.load(fit).predict(configs), out)


def frontier(
    fit: FitFile,
    env: Task,
    threshold: Annotated[float, typer.Option(metavar="J", help="The return to reach.")],
    out: Annotated[Path, typer.Option(metavar="FRONTIER.csv", help="The table to write.")],
    utd: Annotated[
        str | None, typer.Option(metavar="LO:HI:N", help="N UTDs from LO to HI, evenly spaced in logs.")
    ] = None,
    model_size: ModelSize = None,
) -> None:
    """Tabulate data and compute over UTD, with bands."""
    check_output(out, ".csv")
    grid = parse_utd(utd)
    import bayescale as bs

    posterior = load_posterior(fit, env)
    write_csv(bs.frontier(posterior, env, threshold, grid, model_size).table(), out)
