"""Run the command that imports learning curves from the files of other tools."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from bayescale.arguments import counted
from bayescale.cli.import_kinds import KINDS
from bayescale.cli.options import Ignore, MissingEnd, Resumed
from bayescale.cli.terminal import say, table_text
from bayescale.data.output_files import check_output, written
from bayescale.errors import InputError
from bayescale.progress_display import ProgressDisplay

if TYPE_CHECKING:
    import pandas as pd

    from bayescale.importers.importer import Importer
    from bayescale.importers.kinds.wandb import Download
    from bayescale.importers.run_logs import ColumnMapping, Imported, Logs, Skipped

HEAD = 8  # rows that --dry-run prints
LISTED = 10  # skipped runs that are listed without --dry-run
TEMPLATE = Path("MAP.toml")


def import_curves(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"The tool that wrote SOURCE: {', '.join(KINDS)}.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Files or folders of the tool.")],
    out: Annotated[Path | None, typer.Option(metavar="CURVES.parquet", help="The file to write.")] = None,
    mapping_file: Annotated[
        Path | None,
        typer.Option("--map", metavar="MAP.toml", help="Keys of the tool by column; --dry-run writes one to edit."),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="COLUMN=KEY",
            help="The key of the tool that holds a column; for utd also a ratio of keys. Repeat the option for more.",
        ),
    ] = None,
    constants: Annotated[
        list[str] | None,
        typer.Option(
            "--constant",
            metavar="COLUMN=VALUE",
            help="The value of a column that all runs share. Repeat the option for more.",
        ),
    ] = None,
    path_pattern: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="How the names of runs hold settings, such as '{env}__{algo}__{seed}': the last parts of their paths, "
            "or the names of a tracker. Each field becomes a key.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the first rows and all that is left out, and write MAP.toml instead of curves."
        ),
    ] = False,
    resumed: Resumed = None,
    missing_end: MissingEnd = None,
    ignore: Ignore = None,
    run_filter: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JSON",
            help='wandb: which runs of a project to take, as a filter of W&B\'s API: \'{"state": "finished"}\'.',
        ),
    ] = None,
    page_size: Annotated[
        int | None, typer.Option(metavar="ROWS", help="wandb: rows of a history per request; default: 1000.")
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="wandb: keep the histories of runs that have ended in this folder, so that an interrupted import goes "
            "on. Default: a folder beside CURVES.parquet, which is removed at the end.",
        ),
    ] = None,
) -> None:
    """Import learning curves from the files of another tool, or from the service of Weights & Biases.

    The settings of the runs come from what the tool logged. The command prints which key it takes for which column, and
    which runs it leaves out and why. What the tool did not log comes from --constant, --key or MAP.toml; these also
    replace guesses. CURVES.parquet holds the columns that `fit` reads.
    """
    if kind not in KINDS:
        raise InputError(f"KIND must be {', '.join(KINDS)}; got '{kind}'. Correct it.")
    if out is not None:
        check_output(out, ".parquet")
    elif not dry_run:
        raise InputError("--out is missing. Name a file that ends in .parquet, or look first with --dry-run.")
    import bayescale as bs
    from bayescale.data.curves import Rules
    from bayescale.importers.curve_table import Answers, as_table
    from bayescale.importers.kinds.wandb.parts import remove_parts
    from bayescale.importers.mapping_file import mapping_text, read_mapping
    from bayescale.importers.path_patterns import with_path_settings

    Rules(resumed, missing_end)
    template = mapping_file or TEMPLATE
    writes_template = dry_run and not template.exists()
    given = None if mapping_file is None or writes_template else read_mapping(mapping_file)
    answers = replace(_answers(keys or [], constants or []), path_pattern=path_pattern)
    named = (given or answers).with_answers(answers)
    own_parts = None if parts is not None or dry_run or out is None else out.with_name(f"{out.name}.parts")
    if kind == "wandb":
        importer = _with_download(KINDS[kind](), _download(run_filter, page_size, parts or own_parts))
    elif run_filter is not None or page_size is not None or parts is not None:
        raise InputError(f"--filter, --page-size and --parts are for wandb; KIND is {kind}. Leave them out.")
    else:
        importer = KINDS[kind]()
    logs = with_path_settings(importer.log(*sources), named.path_pattern)
    guess, guesses = importer.guess(logs)
    mapping = _without(guess.with_answers(named), ignore or [])
    for sentence in guesses:
        print(f"guess: {sentence}")
    if writes_template:
        with written(template) as partial:
            partial.write_text(mapping_text(mapping))
        print(f"wrote {template}: edit it, and give it as --map.")
    elif dry_run and mapping_file is None:
        say(f"note: {template} exists and is not replaced.")
    logs = importer.runs(logs, mapping) if importer.runs else logs
    if "status" in (ignore or []):
        logs = replace(logs, runs=[replace(run, status=None) for run in logs.runs])
    if logs.runs:
        print(f"runs found: {len(logs.runs):,}")
    imported = as_table(
        logs,
        mapping,
        sources=sources,
        answers=Answers(
            cast(Literal["keep-last"] | None, resumed), cast(Literal["ended", "diverged"] | None, missing_end)
        ),
    )
    _print(imported, every_skipped=dry_run)
    if dry_run:
        print(_head(imported.curves))
    elif out is not None:
        bs.write_curves(imported.curves, out)
        print(f"wrote {out}")
        if kind == "wandb" and own_parts is not None:
            remove_parts(own_parts)


def _with_download(importer: "Importer", download: "Download") -> "Importer":
    """Return the importer of W&B with the options of the download, and with a display of its progress."""

    def histories(logs: "Logs", mapping: "ColumnMapping") -> "Logs":
        start = time.monotonic()
        with ProgressDisplay() as display:

            def show(done: int, of: int) -> None:
                text = f"{done} of {counted(of, 'run')}"
                display.show(done / of, text, seconds=time.monotonic() - start, last=done == of)

            return wandb_histories(logs, mapping, on_progress=show)

    from bayescale.importers.kinds.wandb import wandb_histories

    return importer._replace(log=partial(importer.log, download=download), runs=histories)


def _download(run_filter: str | None, page_size: int | None, parts: Path | None) -> "Download":
    """Return how runs of the service of W&B are chosen and fetched, from the options of the command."""
    from bayescale.importers.kinds.wandb import Download

    filters = None
    if run_filter is not None:
        try:
            filters = json.loads(run_filter)
        except (ValueError, RecursionError):
            raise InputError(
                f'--filter must be JSON, such as \'{{"state": "finished"}}\'; got {run_filter[:60]}.'
            ) from None
    return Download(filters, parts=parts) if page_size is None else Download(filters, page_size, parts)


def _without(mapping: "ColumnMapping", ignore: Sequence[str]) -> "ColumnMapping":
    """Return the mapping without further columns that are to be ignored."""
    unknown = [name for name in ignore if name not in {*mapping.columns, "status"}]
    if unknown:
        raise InputError(f"--ignore names {unknown[0]!r}, which is no column of the mapping. Leave it out.")
    return replace(mapping, columns={**mapping.columns, **dict.fromkeys(ignore, "")})


def _answers(keys: Sequence[str], constants: Sequence[str]) -> "ColumnMapping":
    """Return the mapping that the options --key and --constant state."""
    from bayescale.importers.run_logs import ColumnMapping

    of_column, values = _pairs("--key", keys), _pairs("--constant", constants)
    both = [column for column in of_column if column in values]
    if both:
        raise InputError(f"--key and --constant both name {both[0]}. Leave one out.")
    fields = ("utd", "env_steps", "episode_return", "env_steps_factor")
    shared = {name: values.pop(name) for name in fields if name in values and name != "utd"}
    if shared.keys() - {"env_steps_factor"}:
        raise InputError(f"{min(shared)} differs between the rows of a run. Name its key with --key.")
    of_column |= shared
    own = ColumnMapping(
        columns={column: key for column, key in of_column.items() if column not in fields}, constants=values
    )
    return replace(own, **{column: key for column, key in of_column.items() if column in fields})  # type: ignore[arg-type]


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        column, equals, value = (part.strip() for part in text.partition("="))
        if not (column and equals and value):
            raise InputError(f"{option} must be COLUMN={'KEY' if option == '--key' else 'VALUE'}; got '{text}'.")
        if column in pairs:
            raise InputError(f"{option} names {column} twice. Leave one out.")
        pairs[column] = value
    return pairs


def _print(imported: "Imported", *, every_skipped: bool) -> None:
    for note in imported.guesses:
        print(f"note: {note}")
    print(_skipped_text(imported.skipped, every_skipped=every_skipped), end="")
    curves = imported.curves
    from bayescale.data.curves import run_starts

    print(f"runs: {len(run_starts(curves)):,}, evaluations: {len(curves):,}, tasks: {curves['env_id'].nunique():,}")


def _skipped_text(skipped: "Sequence[Skipped]", *, every_skipped: bool) -> str:
    """Return one line per skipped run, at most LISTED unless `every_skipped`, and the number of the others."""
    listed = skipped if every_skipped else skipped[:LISTED]
    lines = [f"skipped: {one.name}: {one.reason}" for one in listed]
    if len(listed) < len(skipped):
        lines.append(f"skipped: {counted(len(skipped) - len(listed), 'more run or file')}; --dry-run lists them all.")
    return "".join(f"{line}\n" for line in lines)


def _head(curves: "pd.DataFrame") -> str:
    rows = [[str(value) for value in row] for row in curves.head(HEAD).itertuples(index=False, name=None)]
    return table_text([str(name) for name in curves.columns], rows)
