"""Read learning curves from TensorBoard: folders of event files, or the CSV files that its page downloads.

A run is a folder with event files. Its folders `train`, `eval`, `evaluation`, `test` and `validation` belong to it, and
so does the folder that torch's `add_hparams` writes below it, with settings and one point of each series. Settings come
from HParams events and from the table of hyperparameters that CleanRL writes; a pattern reads settings from the path.
The logs do not say how a run ended.

The page downloads one series of one run as a CSV with the columns Wall time, Step and Value, whose name may be
`run-RUN-tag-TAG.csv`.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.data.curves import read_curves
from bayescale.data.tables import Table
from bayescale.data.tables.paths import matching_paths
from bayescale.errors import InputError
from bayescale.importers.event_files.records import require_tensorboard
from bayescale.importers.event_files.series import EventFile, Series, StartsOver, joined, read_event_file
from bayescale.importers.guesses import sentences, varying
from bayescale.importers.importer import Importer, read_with
from bayescale.importers.run_folders import Source, Unusable, read_delimited, read_text, run_folders, skipped
from bayescale.importers.run_logs import ColumnMapping, Logs, RunLog, Skipped
from bayescale.importers.usual_names import return_key, setting_keys, utd_ratio

Settings = Mapping[str, str | float]

PARTS = ("train", "eval", "evaluation", "test", "validation")
EXPORTED = ["Wall time", "Step", "Value"]
EXPORTED_NAME = re.compile(r"(?:run-)?(.+)-tag-(.+)")
STEP = "step"
BLOCK = "(series)"  # number of the series, in the history, that were logged at the same steps
DEFAULT_TAG = "eval/mean_reward"


def read_tensorboard(
    *sources: Source | Mapping[str, Settings] | Mapping[Path, Settings],
    tag: str | None = None,
    mapping: ColumnMapping | None = None,
) -> pd.DataFrame:
    """Return the learning-curve table of the runs at or below the sources; the step of an event counts env steps.

    If a resumed run logged steps again in a new file, the new file counts. A file that ends within a record, which
    happens when the run is killed, is read up to that record, with a warning.

    Args:
        sources: folders of runs such as `runs`, globs, event files, or CSV files that TensorBoard's page downloaded.
            Where the logs hold no settings, one mapping instead: the folder of each run, with its algorithm, env_id,
            utd, batch_size, learning_rate, seed and, if known, suite, model_size and further columns.
        tag: name of the series of returns; None guesses it, and stands for eval/mean_reward with a mapping of folders.
        mapping: keys of the settings and the series by column; they add to those that `guess_tensorboard` finds, and
            replace them.

    Raises:
        InputError: a source does not exist, no run can be used, or the table is not valid. With a mapping of folders
            also: a folder lacks the series or holds several runs, or a file is damaged.
        MissingExtra: tensorboard is not installed.
    """
    if len(sources) == 1 and isinstance(sources[0], Mapping):
        tables = [
            Table(_series_of(Path(folder), tag or DEFAULT_TAG).assign(**settings), str(folder))
            for folder, settings in sources[0].items()
        ]
        return read_curves(tables)
    answers = mapping or ColumnMapping()
    return read_with(TENSORBOARD, sources, replace(answers, episode_return=tag) if tag else answers)


def log_tensorboard(*sources: Source) -> Logs:
    """Return the runs at or below the sources, and the files that cannot be used.

    Raises:
        InputError: a source does not exist or holds no event files.
        MissingExtra: tensorboard is not installed.
    """
    require_tensorboard()
    paths = [path for source in sources for path in matching_paths(source)]
    tables = [path for path in paths if path.name.endswith(".csv") and not path.is_dir()]
    others = [path for path in paths if path not in tables]
    left_out: list[Skipped] = []
    folders = run_folders(others, is_event_file)
    if others and not folders:
        tables += [file for folder in run_folders(others, _is_csv) for file in sorted(folder.glob("*.csv"))]
    runs = _runs_of_folders(folders, set(others), left_out) + _runs_of_tables(tables, left_out)
    if not runs and not left_out:
        raise InputError(f"{others[0]} holds no event files of TensorBoard. Give the folder of a run, or one above it.")
    return Logs(runs, left_out)


def guess_tensorboard(logs: Logs) -> tuple[ColumnMapping, list[str]]:
    """Return the mapping from settings and series to columns, and a sentence for each guess."""
    runs = logs.runs
    columns, asked = setting_keys(runs)
    utd, about_utd = (columns.pop("utd"), []) if "utd" in columns else utd_ratio(runs)
    episode_return, about_return = return_key(runs)
    said = sentences({**columns, "utd": utd, "env_steps": STEP, "episode_return": episode_return})
    said += [*asked, *about_utd, *about_return]
    said.append("step: the step of the events, taken for env steps; give env_steps_factor if it counts something else.")
    further = varying(runs, but=[*columns.values(), *([utd] if utd else [])])
    said += [f"{key} differs between runs and becomes a further column." for key in further]
    return ColumnMapping({**columns, **further}, utd=utd, env_steps=STEP, episode_return=episode_return), said


def rows_of_return(logs: Logs, mapping: ColumnMapping) -> Logs:
    """Return the runs with the rows of the return alone; rows of other series are no evaluations without a return."""

    def chosen(run: RunLog) -> RunLog:
        if mapping.episode_return not in run.history:
            return run
        own = run.history[BLOCK][run.history[mapping.episode_return].notna()]
        return replace(run, history=run.history[run.history[BLOCK].isin(own)].reset_index(drop=True))

    return Logs([chosen(run) for run in logs.runs], logs.skipped)


TENSORBOARD = Importer(log_tensorboard, guess_tensorboard, rows_of_return)


def is_event_file(name: str) -> bool:
    """Return True for the name of an event file."""
    return "tfevents" in name and not name.endswith(".profile-empty")


def _is_csv(name: str) -> bool:
    return name.endswith(".csv")


def _runs_of_folders(folders: Sequence[Path], sources: set[Path], left_out: list[Skipped]) -> list[RunLog]:
    """Return a run for each folder with event files; parts of a run are joined."""
    settings: dict[Path, dict[str, Any]] = {}
    series: dict[Path, dict[str, Series]] = {}
    for folder in folders:
        files = _event_files(folder, left_out)
        is_hparams = folder.parent in folders and _holds_settings_alone(files)
        is_part = folder.name in PARTS and folder not in sources
        run = folder.parent if is_hparams or is_part else folder
        own = settings.setdefault(run, {})
        for file in files:
            own.update({key: value for key, value in file.settings.items() if key not in own})
        if is_hparams or not files:
            continue
        prefix = f"{folder.name}/" if is_part else ""
        for tag in dict.fromkeys(tag for file in files for tag in file.series):
            found = joined(files, tag, may_start_over=True)
            if found is not None:
                series.setdefault(run, {})[tag if tag.startswith(prefix) else prefix + tag] = found
    return [RunLog(str(run), settings[run], _history(own)) for run, own in series.items()]


def _holds_settings_alone(files: Sequence[EventFile]) -> bool:
    return any(file.settings for file in files) and all(len(s.steps) == 1 for f in files for s in f.series.values())


def _event_files(folder: Path, left_out: list[Skipped]) -> list[EventFile]:
    files = []
    for file in sorted(path for path in folder.iterdir() if is_event_file(path.name)):
        try:
            files.append(read_event_file(file))
        except Unusable as reason:
            left_out.append(skipped(file, reason))
            continue
        if (cut := files[-1].cut) is not None:
            left_out.append(skipped(file, cut))
    return files


def _runs_of_tables(files: Iterable[Path], left_out: list[Skipped]) -> list[RunLog]:
    """Return a run for each name RUN of the files run-RUN-tag-TAG.csv, or for each file of another name."""
    runs: dict[Path, dict[str, Series]] = {}
    for file in files:
        try:
            rows = read_delimited(read_text(file))
        except Unusable as reason:
            left_out.append(skipped(file, reason))
            continue
        if not set(EXPORTED) <= set(rows.columns):
            left_out.append(skipped(file, f"it has no columns {', '.join(EXPORTED)} of numbers."))
            continue
        named = EXPORTED_NAME.fullmatch(file.stem)
        run, tag = (named[1], named[2]) if named else (file.stem, "Value")
        rows = rows.dropna(subset="Step")
        if not (rows["Step"] == np.rint(rows["Step"])).all() or (rows["Step"].abs() >= 2**62).any():
            left_out.append(skipped(file, "its column Step holds other than whole numbers."))
            continue
        series = Series(rows["Step"].to_numpy(np.int64), rows["Value"].to_numpy(float))
        runs.setdefault(file.parent / run, {})[tag] = series
    return [RunLog(str(run), {}, _history(series)) for run, series in runs.items()]


def _history(series: Mapping[str, Series]) -> pd.DataFrame:
    """Return the points as rows: series that were logged at the same steps share rows, the others have rows apart."""
    blocks: dict[bytes, dict[str, np.ndarray]] = {}
    for tag, one in series.items():
        block = blocks.setdefault(one.steps.tobytes(), {STEP: one.steps})
        block[f"series {tag}" if tag in (STEP, BLOCK) else tag] = one.values
    frames = [pd.DataFrame(block).assign(**{BLOCK: number}) for number, block in enumerate(blocks.values())]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _series_of(folder: Path, tag: str) -> pd.DataFrame:
    """Return one series in the event files of a folder.

    Raises:
        InputError: the folder lacks the series or holds several runs, or a file is damaged.
    """
    require_tensorboard()
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Give the folder that holds a run's event files.")
    left_out: list[Skipped] = []
    files = _event_files(folder, left_out)
    for one in left_out:
        if not any(str(file.file) == one.name for file in files):
            raise InputError(f"{one.name} {one.reason.removeprefix('it ')}")
        warnings.warn(f"{one.name} {one.reason.removeprefix('it ')}", stacklevel=3)
    try:
        series = joined(files, tag, may_start_over=False)
    except StartsOver as over:
        raise InputError(
            f"{over.file} starts over after {over.before}, as another run does. "
            "Remove the one that does not count, or give each run a folder."
        ) from None
    if series is None:
        found = ", ".join(sorted({tag for file in files for tag in file.series})) or "no series"
        raise InputError(f"{folder} has no series '{tag}'; it has {found}. Give one of them as tag.")
    return pd.DataFrame({"env_steps": series.steps, "episode_return": series.values})
