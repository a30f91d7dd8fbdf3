"""Does the model predict below, beyond and between the swept settings, and in corners of two axes?

Data: the sweeps in case_studies/data and, with --data, a folder with the published tables that published_gym.py,
published_simba.py and the FlashSAC splits read (rybkin2025_gym, simbav2 and flashsac below it). These do not ship with
the project, and without --data their splits are left out. `splits.md` lists all splits and says when they were chosen.

Run time: each fit takes as long as `bayescale fit --fast`; the split of the published Gym sweep by task has four fits.

Expected result: a line per split with the weighted interval score, the error of medians, the coverage of 90% intervals
and the bias: the mean log ratio of predicted and observed medians, above 0 if predicted too late. A folder keeps them.
To compare two versions of the code, run each with a folder of its own, then give both folders to --compare.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from held_out import SETTINGS
from published_simba import read as read_simba

OWN = Path(__file__).parent / "data"
BRO = tuple(path for path in sorted(OWN.glob("bro_*.parquet")) if "heldout" not in path.stem)
OWN_TABLES: dict[str, tuple[Path, ...]] = {
    "halfcheetah": (OWN / "sac_halfcheetah.parquet",),
    "hopper": (OWN / "sac_hopper.parquet",),
    "pendulum": (OWN / "sac_pendulum.parquet",),
    "pql": (OWN / "pql_pendulum.parquet",),
    "bro": BRO,
    "bro sizes": (*BRO, OWN / "bro_cartpole_balance_heldout_width.parquet"),
}
PUBLISHED = {
    "gym": Path("rybkin2025_gym", "sweep.parquet"),
    "gym second stage": Path("rybkin2025_gym", "second_stage.parquet"),
    "flashsac": Path("flashsac", "star.parquet"),
}
Condition = Callable[[pd.DataFrame], pd.Series]
Fold = tuple[pd.DataFrame, pd.DataFrame]  # crossings that a fit sees, crossings that it predicts


@dataclass(frozen=True)
class Split:
    """Runs to fit, and runs to predict.

    Attributes:
        table: name of the table in `read`.
        left_out: conditions on runs. A fit sees the runs that meet none; the runs that meet all are predicted.
        unseen: name of another table, whose runs are predicted instead.
        give_back: None, or the runs that a fit sees of a task left out, one task after the other.
    """

    table: str
    left_out: tuple[Condition, ...] = ()
    unseen: str | None = None
    give_back: int | None = None


@dataclass(frozen=True)
class Config:
    """Seeds of the sampler, and further arguments of `bayescale.fit`."""

    seeds: tuple[int, ...] = (0,)
    sampling: dict[str, Any] = field(default_factory=lambda: {"method": "fast"})


def utd(*values: float) -> Condition:
    """Return the condition that a run has one of these UTDs."""
    return lambda runs: runs["utd"].isin(values)


def lowest(axis: str, count: int = 1) -> Condition:
    """Return the condition that a setting is one of the lowest of its task, if it varies there."""
    return lambda runs: _rank(runs, axis) <= count


def highest(axis: str) -> Condition:
    """Return the condition that a setting is the highest of its task, if it varies there."""
    return lambda runs: _rank(runs.assign(**{axis: -runs[axis]}), axis) <= 1


def _rank(runs: pd.DataFrame, axis: str) -> pd.Series:
    """Return the rank of a setting among the values of its task, from 1; infinite where only one value occurs."""
    by_task = runs.groupby("env_id")[axis]
    return by_task.rank("dense").where(by_task.transform("nunique") > 1, np.inf)


SPLITS: dict[str, Split] = {
    "Gym second stage": Split("gym", unseen="gym second stage"),
    "Gym UTD 8": Split("gym", (utd(8),)),
    "Gym UTD 1": Split("gym", (utd(1),)),
    "Gym UTD 1 and 8": Split("gym", (utd(1, 8),)),
    "Gym UTD 4 and 8": Split("gym", (utd(4, 8),)),
    "Gym UTD 1 and 2": Split("gym", (utd(1, 2),)),
    "Gym task, 4 runs back": Split("gym", give_back=4),
    "Gym largest rate": Split("gym", (highest("learning_rate"),)),
    "Gym smallest rate": Split("gym", (lowest("learning_rate"),)),
    "Gym largest batch": Split("gym", (highest("batch_size"),)),
    "Gym smallest batch": Split("gym", (lowest("batch_size"),)),
    "Gym corner UTD 8 x largest batch": Split("gym", (utd(8), highest("batch_size"))),
    "Gym corner UTD 8 x largest rate": Split("gym", (utd(8), highest("learning_rate"))),
    "Gym corner UTD 1 x smallest rate": Split("gym", (utd(1), lowest("learning_rate"))),
    "HalfCheetah two lowest UTDs": Split("halfcheetah", (lowest("utd", 2),)),
    "Hopper two lowest UTDs": Split("hopper", (lowest("utd", 2),)),
    "Pendulum two lowest UTDs": Split("pendulum", (lowest("utd", 2),)),
    "BRO two lowest UTDs": Split("bro", (lowest("utd", 2),)),
    "PQL lowest UTD": Split("pql", (lowest("utd"),)),
    "BRO corner highest UTD x largest critic": Split("bro sizes", (highest("utd"), highest("model_size"))),
    "FlashSAC highest UTD": Split("flashsac", (highest("utd"),)),
    "FlashSAC lowest UTD": Split("flashsac", (lowest("utd"),)),
    "FlashSAC widest": Split("flashsac", (highest("model_size"),)),
    "FlashSAC largest batch": Split("flashsac", (highest("batch_size"),)),
    "Simba UTD 1": Split("simba", (utd(1),)),
    "Simba UTD 8": Split("simba", (utd(8),)),
}


@lru_cache
def read(table: str, data: Path) -> pd.DataFrame:
    """Return the curves of a table of `OWN_TABLES`, or of a published table in the folder `data`."""
    if table in OWN_TABLES:
        return bs.read_curves(OWN_TABLES[table])
    if table == "simba":
        return read_simba(data / "simbav2" / "utd_sweep.parquet", "simba", "utd")
    return bs.read_curves(data / PUBLISHED[table])


def crossing_options(table: str, data: Path) -> dict[str, Any]:
    """Return the thresholds and the return scale of a table; default thresholds are chosen from the fitted runs."""
    if table.startswith("gym"):
        return {
            "thresholds": 1000 - np.geomspace(700, 200, 10),
            "return_scale": data / "rybkin2025_gym" / "return_scale.csv",
        }
    if table == "flashsac":
        return {"return_scale": data / "flashsac" / "return_scale.csv"}
    if table == "simba":
        return {"thresholds": np.linspace(300, 800, 6)}
    return {"thresholds": range(350, 601, 25)} if table.startswith("bro") else {}


def folds(split: Split, data: Path) -> list[Fold]:
    """Return the fitted and the unseen crossings of each fold of a split."""
    curves = read(split.table, data)
    options = crossing_options(split.table, data)
    if split.unseen is not None:
        unseen = bs.time_to_threshold(read(split.unseen, data), **options)
        return [(bs.time_to_threshold(curves, **options), unseen)]
    if split.give_back is not None:
        crossings = bs.time_to_threshold(curves, **options)
        runs = crossings[[*SETTINGS, "seed"]].drop_duplicates()
        rng = np.random.default_rng(0)
        held = []
        for _, own in runs.groupby("env_id"):
            out = pd.MultiIndex.from_frame(own.drop(rng.choice(own.index, split.give_back, replace=False)))
            held.append(pd.MultiIndex.from_frame(crossings[[*SETTINGS, "seed"]]).isin(out))
        return [(crossings.loc[~out].reset_index(drop=True), crossings.loc[out].reset_index(drop=True)) for out in held]
    meets = pd.concat([condition(curves) for condition in split.left_out], axis=1)
    fitted = bs.time_to_threshold(curves.loc[~meets.any(axis=1)], **options)
    options["thresholds"] = np.unique(fitted["threshold"])
    return [(fitted, bs.time_to_threshold(curves.loc[meets.all(axis=1)], **options))]


def scores(predicted: pd.DataFrame, unseen: pd.DataFrame) -> dict[str, float]:
    """Return the weighted interval score, the error of medians, the coverage and the bias.

    Args:
        predicted: the table of `Posterior.predict`. An `evaluation_interval` of 0 says that a quantile is of the
            crossing itself; then the crossing counts as observed in the middle of its two evaluations, in logs.
        unseen: crossings of the predicted runs.
    """
    on = [name for name in (*SETTINGS, "threshold") if name in predicted and name in unseen]
    runs = unseen.merge(predicted[[*on, "evaluation_interval"]], on=on, validate="many_to_one")
    middle = np.sqrt(runs["env_steps_lower"] * runs["env_steps_upper"])
    seen = runs["env_steps_upper"].where(runs["evaluation_interval"] > 0, middle)
    cells = seen.groupby([runs[name] for name in on]).median().rename("seen").reset_index()
    cells = cells.merge(predicted, on=on, validate="one_to_one")
    cells = cells[np.isfinite(cells["seen"]) & np.isfinite(cells["q50"]) & (cells["seen"] > 0)]
    found = bs.score(predicted, crossings=unseen)
    bias = float(np.log(cells["q50"] / cells["seen"]).mean())
    return {"wis": found.wis, "male": found.male, "coverage90": found.coverage90, "bias": bias}


def predict(posterior: bs.Posterior, unseen: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of a fit for the configurations of unseen runs.

    They are of the evaluations of the fitted runs, or of the crossing itself on tasks whose fitted runs evaluate at
    irregular steps (FlashSAC) or at two intervals (dogs and humanoids of Simba).
    """
    return posterior.predict(unseen[[name for name in SETTINGS if name in unseen]].drop_duplicates(ignore_index=True))


def scored(split: Split, config: Config, data: Path) -> pd.DataFrame:
    """Fit a split with each seed and return its scores, one row per seed."""
    parts = folds(split, data)
    unseen = pd.concat([part for _, part in parts], ignore_index=True)
    rows = []
    for seed in config.seeds:
        fits = [bs.fit(fitted, seed=seed, require_convergence=False, **config.sampling) for fitted, _ in parts]
        predicted = [predict(fit, part) for fit, (_, part) in zip(fits, parts, strict=True)]
        note = "; ".join(sorted({fit.status.name for fit in fits}))
        rows.append({"seed": seed, **scores(pd.concat(predicted, ignore_index=True), unseen), "note": note})
    return pd.DataFrame(rows)


def main(config: Config, data: Path | None, work: Path, chosen: tuple[str, ...]) -> None:
    """Print the scores of each split; fit those that the folder does not hold."""
    work.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        path = score_file(work, name)
        if not path.exists():
            if data is None and SPLITS[name].table not in OWN_TABLES:
                print(f"{name}: needs --data", flush=True)
                continue
            scored(SPLITS[name], config, data or OWN).to_csv(path, index=False)
        print(f"{name:42s} {shown(path)}", flush=True)


def score_file(work: Path, split: str) -> Path:
    """Return the file that keeps the scores of a split."""
    return work / f"{split.replace(' ', '_')}.csv"


def shown(path: Path) -> str:
    """Return the mean scores of a file as text; "-" if there is none."""
    if not path.exists():
        return "-"
    table = pd.read_csv(path)
    wis, male, coverage, bias = table[["wis", "male", "coverage90", "bias"]].mean()
    return f"{wis:.3f} / {male:.3f} / {coverage:.2f} / {bias:+.2f}"


def compare(folders: list[Path]) -> None:
    """Print a table in Markdown with a row per split and a column per folder."""
    print("| left out |" + "|".join(f" {folder.name} " for folder in folders) + "|\n|---" * (1 + len(folders)) + "|")
    for name in SPLITS:
        cells = [shown(score_file(folder, name)) for folder in folders]
        print("| " + " | ".join([name, *cells]) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("splits", nargs="*", help="names of splits, or their first words; all by default")
    parser.add_argument("--data", type=Path, help="folder of the published tables")
    parser.add_argument("--work", type=Path, default=Path("held_out_splits"), help="folder that keeps the scores")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds of the sampler")
    parser.add_argument("--compare", type=Path, nargs="+", help="folders of scores to print side by side; fits nothing")
    parser.add_argument("--smoke", action="store_true", help="one split of a small sweep, few draws")
    given = parser.parse_args()
    if given.compare:
        compare(given.compare)
    elif given.smoke:
        main(Config(sampling={"chains": 1, "draws": 20, "warmup": 30}), None, given.work, ("PQL lowest UTD",))
    else:
        names = [name for name in SPLITS if not given.splits or name.startswith(tuple(given.splits))]
        main(Config(seeds=tuple(range(given.seeds))), given.data, given.work, tuple(names))
