"""Does the joint model predict runs it never saw better than what people use today, on every split of one sweep?

Data: the folder that published_gym.py reads. Run time: an hour of two quiet cores, most of it sampling; what is done is
kept in a folder and not done again. Writes a table with a row per split and method: the joint model, the published
pipelines of Rybkin et al. (ICML 2025) and Fu et al. (NeurIPS 2025), the joint model with complete and without pooling
of tasks, and two oracles that have seen what they are scored on. All see the same runs and are scored alike.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs

CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]
RUN = [*CONFIG, "seed"]
CELL = [*CONFIG, "threshold"]
LEVELS = {"q05": 0.05, "q10": 0.10, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q90": 0.90, "q95": 0.95}


@dataclass(frozen=True)
class Config:
    """Thresholds on the scale 0 to 1000, as in the paper; draws of each chain; runs given back of a left-out task."""

    thresholds: tuple[float, ...] = tuple(1000 - np.geomspace(700, 200, 10))
    draws: int = 1000
    give_back: int = 4

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of `bayescale.fit`; a fit that has not converged by then is scored all the same, and noted."""
        return {"draws": self.draws, "most_draws": 4 * self.draws, "require_convergence": False}


@dataclass(frozen=True)
class Fold:
    """What a method may see, and the crossings that it is scored on."""

    curves: pd.DataFrame
    crossings: pd.DataFrame
    unseen: pd.DataFrame
    scale: pd.DataFrame


METHODS: dict[str, Callable[[Fold, Config], Any]] = {
    "BayeScale": lambda f, c: bs.fit(f.crossings, **c.sampling),
    "published (Rybkin et al.)": lambda f, c: bs.fit_published(f.curves, thresholds=c.thresholds, return_scale=f.scale),
    "published (Fu et al.)": lambda f, _: bs.fit_size_law(f.crossings),
    "complete pooling": lambda f, c: bs.fit_complete_pooling(f.crossings, **c.sampling),
    "no pooling": lambda f, c: bs.fit_no_pooling(
        f.crossings[f.crossings["env_id"].isin(f.unseen["env_id"])], **c.sampling
    ),
}
ORACLES = ("oracle: each cell's own median", "floor: each cell's best quantiles")
HEADER = """# Held-out scores on the published Gym sweep

Made by `python case_studies/published_methods.py --data FOLDER --table case_studies/published_gym.md`. Scores are those
of `bayescale.score`: lower is better for wis and male, 0.90 is right for coverage90; the best of a split is bold.
A split's runs are in no fit. The oracles have seen the runs that they are scored on: each cell's own median, with the
spread of its task and threshold; and each cell's best quantiles, which no prediction can beat in wis. Methods that are
missing from a split were not run on it. Fitted with {code}.

"""
SPLITS = (
    "second stage",
    "UTD 8 out",
    "UTD 1 out",
    "UTD 1 and 8 out",
    "UTD 4 and 8 out",
    "UTD 1 and 2 out",
    "task out, 4 runs back",
    "largest learning_rate out",
    "smallest learning_rate out",
    "largest batch_size out",
    "smallest batch_size out",
)


def folds(split: str, config: Config, data: Path) -> list[Fold]:
    """The fits that a split asks for; the largest and smallest values are each task's own."""
    curves, scale = bs.read_curves(data / "sweep.parquet"), pd.read_csv(data / "return_scale.csv")
    crossings = bs.time_to_threshold(curves, config.thresholds, scale)
    if split == "second stage":
        unseen = bs.time_to_threshold(bs.read_curves(data / "second_stage.parquet"), config.thresholds, scale)
        return [Fold(curves, crossings, unseen, scale)]
    runs = crossings[RUN].drop_duplicates()
    rng = np.random.default_rng(0)
    held = []
    if split.startswith("task"):
        for _, own in runs.groupby("env_id"):
            held.append(own.drop(rng.choice(own.index, config.give_back, replace=False)))
    elif split.startswith(("largest", "smallest")):
        end, axis, _ = split.split()
        outermost = runs.groupby("env_id")[axis].transform("max" if end == "largest" else "min")
        held.append(runs[runs[axis] == outermost])
    else:
        out = [float(word) for word in split.split() if word.isdigit()]
        held.append(runs[runs["utd"].isin(out)])

    def among(table: pd.DataFrame, some: pd.DataFrame) -> pd.Series:
        return pd.Series(pd.MultiIndex.from_frame(table[RUN]).isin(pd.MultiIndex.from_frame(some)), table.index)

    return [
        Fold(
            curves[~among(curves, some)].reset_index(drop=True),
            crossings[~among(crossings, some)].reset_index(drop=True),
            crossings[among(crossings, some)].reset_index(drop=True),
            scale,
        )
        for some in held
    ]


def predicted(fold: Fold, method: str, config: Config, path: Path) -> pd.DataFrame:
    """The method's predictions for the fold, with what became of its sampling; read from the path where that exists."""
    if path.exists():
        return pd.read_csv(path, keep_default_na=False)
    fitted = METHODS[method](fold, config)
    table: pd.DataFrame = fitted.predict(fold.unseen[CONFIG].drop_duplicates())
    statuses = getattr(fitted, "statuses", (fitted.status.value,) if isinstance(fitted, bs.Posterior) else ())
    table["note"] = "; ".join(sorted({status for status in statuses if status.startswith("not")}))
    table.to_csv(path, index=False)
    return table


def oracle(unseen: pd.DataFrame, own_spread: bool) -> pd.DataFrame:
    """Each cell's own median and around it the spread of its task and threshold's runs; or each cell's best quantiles.

    Both have seen what they are scored on. The best quantiles minimise the interval score of any prediction that gives
    every seed of a configuration the same quantiles: a floor.
    """
    late = np.log(unseen["env_steps_upper"].where(~unseen["censored"], np.inf))
    by_cell = [unseen[name] for name in CELL]
    middle = late.groupby(by_cell).transform("median")
    departures = (late - middle.where(np.isfinite(middle))).groupby([unseen["env_id"], unseen["threshold"]])
    seen = np.log(unseen["env_steps_upper"].where(~unseen["censored"], unseen["env_steps_lower"]))
    table = unseen[CELL].copy()
    for name, level in LEVELS.items():
        if own_spread:
            logs = seen.groupby(by_cell).transform(
                lambda x, level=level: best(x, unseen.loc[x.index, "censored"], level)
            )
        elif name == "q50":
            logs = middle
        else:
            logs = middle + departures.transform(lambda x, level=level: x.quantile(level, "lower"))
        table[name] = np.exp(logs)
    return table.groupby(CELL, as_index=False).first()


def best(log_steps: pd.Series, censored: pd.Series, level: float) -> float:
    """The least quantile that minimises the pinball loss; of a censored run only the loss that is certain counts."""
    times, late = log_steps.to_numpy(), censored.to_numpy()
    loss = bs.pinball_loss(np.sort(times)[:, None], observed=times, censored=late, levels=level).sum(axis=1)
    return float(np.sort(times)[loss <= loss.min() + 1e-12][0])


def main(
    config: Config, data: Path, out: Path, work: Path, splits: tuple[str, ...], kept_only: bool, code: str
) -> None:
    """Writes the table, a row per split and method."""
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for split in splits:
        parts = dict(enumerate(folds(split, config, data)))
        if kept_only:
            whole = len(parts)
            parts = {n: part for n, part in parts.items() if kept(work, split, "BayeScale", n).exists()}
            if len(parts) < whole:
                tasks = sorted({name for part in parts.values() for name in part.unseen["env_id"].unique()})
                print(f"{split}: only {', '.join(tasks) or 'nothing'} is done")
        if not parts:
            continue
        unseen = pd.concat([part.unseen for part in parts.values()], ignore_index=True)
        label = f"{split}: {', '.join(unseen['env_id'].unique())}" if split.startswith("task") else split
        for method in METHODS:
            if kept_only and not all(kept(work, split, method, n).exists() for n in parts):
                continue
            try:
                tables = [predicted(part, method, config, kept(work, split, method, n)) for n, part in parts.items()]
            except bs.BayeScaleError as error:
                rows.append({"split": label, "method": method, "observations": len(unseen), "note": str(error)})
                continue
            together = pd.concat(tables, ignore_index=True)
            note = "; ".join(sorted({said for said in together["note"] if said}))
            rows.append(
                {"split": label, "method": method, **bs.score(together, crossings=unseen)._asdict(), "note": note}
            )
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
        for own_spread, method in enumerate(ORACLES):
            scores = bs.score(oracle(unseen, bool(own_spread)), crossings=unseen)._asdict()
            rows.append({"split": label, "method": method, **scores, "note": ""})
    out.write_text(HEADER.format(code=code) + markdown(pd.DataFrame(rows)), encoding="utf-8")


def kept(work: Path, split: str, method: str, fold: int) -> Path:
    """The file of what a method predicted for a fold."""
    return work / (f"{split}--{method}--{fold}.csv".replace(" ", "_").replace(",", ""))


def markdown(table: pd.DataFrame) -> str:
    """The table's lines, best of each split in bold, oracles aside."""
    shown = {"coverage90": 2, "wis": 3, "male": 3, "log_score": 2, "width90": 2}
    best = table[~table["method"].isin(ORACLES)].groupby("split")[["wis", "male"]].min()
    lines = [" | ".join(["split", "method", "observations", *shown, "note"]), "|".join(["---"] * (len(shown) + 4))]
    for row in table.to_dict("records"):
        cells = [row["split"], row["method"], f"{row['observations']:.0f}"]
        for name, digits in shown.items():
            text = f"{row[name]:.{digits}f}"
            chief = name in best and row["method"] not in ORACLES and row[name] == best.loc[row["split"], name]
            cells.append(f"**{text}**" if chief else text)
        lines.append(" | ".join([*cells, row["note"].partition(";")[0]]))
    return "".join(f"| {line} |\n" for line in lines).replace("nan", "-")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--table", type=Path, default=Path("published_methods.md"))
    parser.add_argument("--work", type=Path, default=Path("published_methods"), help="folder of what is done already")
    parser.add_argument("--kept", action="store_true", help="fit nothing: the table of what is done already")
    parser.add_argument("--code", default="the code beside it", help="what the table says of the code that fitted")
    parser.add_argument("--smoke", action="store_true", help="few draws, one split")
    given = parser.parse_args()
    config = Config(draws=50) if given.smoke else Config()
    main(config, given.data, given.table, given.work, SPLITS[:1] if given.smoke else SPLITS, given.kept, given.code)
