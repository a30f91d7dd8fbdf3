"""Does the joint model predict unseen runs better than the published methods, on every split of one sweep?

Data: the folder that published_gym.py reads.

Run time: an hour of two quiet cores, most of it sampling. Finished predictions are kept in a folder and not made again.

Expected result: a table with a row per split and method. The methods are the joint model, the published pipelines of
Rybkin et al. (ICML 2025) and Fu et al. (NeurIPS 2025), the joint model with complete pooling of tasks and without
pooling, and two oracles that have seen the runs they are scored on. All methods see the same runs and get the same
scores.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from held_out import CONFIG

RUN = [*CONFIG, "seed"]
CELL = [*CONFIG, "threshold"]
QUANTILE_LEVELS = {"q05": 0.05, "q10": 0.10, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q90": 0.90, "q95": 0.95}


@dataclass(frozen=True)
class Config:
    """Thresholds of the paper in normalised returns, draws per chain, and runs kept in the fit of a left-out task."""

    thresholds: tuple[float, ...] = tuple(1000 - np.geomspace(700, 200, 10))
    draws: int = 1000
    runs_kept: int = 4

    @property
    def sampling(self) -> dict[str, Any]:
        """Arguments of `bayescale.fit`. A fit that has not converged is scored too, and a note says so."""
        return {"draws": self.draws, "most_draws": 4 * self.draws, "require_convergence": False}


@dataclass(frozen=True)
class Fold:
    """The curves and crossings that a method sees, and the unseen crossings that it is scored on."""

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

Made by `python case_studies/published_methods.py --data FOLDER --table case_studies/published_gym.md`. The scores come
from `bayescale.score`: lower is better for wis and male, 0.90 is right for coverage90. The best method of a split is
bold. No fit has seen the runs of its split. The two oracles have seen the runs that they are scored on. The first
predicts each cell's median, with the spread of the cell's task and threshold. The second predicts each cell's best
quantiles; no prediction can beat it in wis. Methods that are missing from a split were not run on it.
Fitted with {code}.

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
    """Return the folds of a split. The largest and smallest values of an axis are taken task by task."""
    curves, scale = bs.read_curves(data / "sweep.parquet"), pd.read_csv(data / "return_scale.csv")
    crossings = bs.time_to_threshold(curves, thresholds=config.thresholds, return_scale=scale)
    if split == "second stage":
        second_stage = bs.read_curves(data / "second_stage.parquet")
        unseen = bs.time_to_threshold(second_stage, thresholds=config.thresholds, return_scale=scale)
        return [Fold(curves, crossings, unseen, scale)]
    runs = crossings[RUN].drop_duplicates()
    rng = np.random.default_rng(0)
    held = []
    if split.startswith("task"):
        for _, own in runs.groupby("env_id"):
            held.append(own.drop(rng.choice(own.index, config.runs_kept, replace=False)))
    elif split.startswith(("largest", "smallest")):
        end, axis, _ = split.split()
        outermost = runs.groupby("env_id")[axis].transform("max" if end == "largest" else "min")
        held.append(runs[runs[axis] == outermost])
    else:
        utds = [float(word) for word in split.split() if word.isdigit()]
        held.append(runs[runs["utd"].isin(utds)])

    def is_held_out(table: pd.DataFrame, runs: pd.DataFrame) -> pd.Series:
        return pd.Series(pd.MultiIndex.from_frame(table[RUN]).isin(pd.MultiIndex.from_frame(runs)), table.index)

    return [
        Fold(
            curves[~is_held_out(curves, out)].reset_index(drop=True),
            crossings[~is_held_out(crossings, out)].reset_index(drop=True),
            crossings[is_held_out(crossings, out)].reset_index(drop=True),
            scale,
        )
        for out in held
    ]


def predicted(fold: Fold, method: str, config: Config, path: Path) -> pd.DataFrame:
    """Return the method's predictions for the fold, with a note unless it converged; read `path` if it exists."""
    if path.exists():
        return pd.read_csv(path, keep_default_na=False)
    fitted = METHODS[method](fold, config)
    table: pd.DataFrame = fitted.predict(fold.unseen[CONFIG].drop_duplicates())
    statuses = getattr(fitted, "statuses", (fitted.status.value,) if isinstance(fitted, bs.Posterior) else ())
    table["note"] = "; ".join(sorted({status for status in statuses if status.startswith("not")}))
    table.to_csv(path, index=False)
    return table


def oracle(unseen: pd.DataFrame, best_quantiles: bool) -> pd.DataFrame:
    """Return predictions made from the very runs that they are scored on.

    With `best_quantiles`, each cell has the quantiles that minimise its interval score. They are a floor for every
    prediction that gives all seeds of a configuration the same quantiles. Otherwise each cell has its median, and
    around the median the spread of the runs of its task and threshold.
    """
    reached = np.log(unseen["env_steps_upper"].where(~unseen["censored"], np.inf))
    by_cell = [unseen[name] for name in CELL]
    middle = reached.groupby(by_cell).transform("median")
    departures = (reached - middle.where(np.isfinite(middle))).groupby([unseen["env_id"], unseen["threshold"]])
    observed = np.log(unseen["env_steps_upper"].where(~unseen["censored"], unseen["env_steps_lower"]))
    table = unseen[CELL].copy()
    for name, level in QUANTILE_LEVELS.items():
        if best_quantiles:
            logs = observed.groupby(by_cell).transform(
                lambda x, level=level: best_quantile(x, unseen.loc[x.index, "censored"], level)
            )
        elif name == "q50":
            logs = middle
        else:
            logs = middle + departures.transform(lambda x, level=level: x.quantile(level, "lower"))
        table[name] = np.exp(logs)
    return table.groupby(CELL, as_index=False).first()


def best_quantile(log_steps: pd.Series, censored: pd.Series, level: float) -> float:
    """Return the smallest observed value that minimises the pinball loss at a quantile level.

    A right-censored run counts only with the loss that is certain.
    """
    times = log_steps.to_numpy()
    loss = bs.pinball_loss(np.sort(times)[:, None], observed=times, censored=censored.to_numpy(), levels=level).sum(
        axis=1
    )
    return float(np.sort(times)[loss <= loss.min() + 1e-12][0])


def main(
    config: Config, data: Path, out: Path, work: Path, splits: tuple[str, ...], finished_only: bool, code: str
) -> None:
    """Score every method on every split and write the table."""
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for split in splits:
        parts = dict(enumerate(folds(split, config, data)))
        if finished_only:
            whole = len(parts)
            parts = {n: part for n, part in parts.items() if prediction_file(work, split, "BayeScale", n).exists()}
            if len(parts) < whole:
                tasks = sorted({name for part in parts.values() for name in part.unseen["env_id"].unique()})
                print(f"{split}: only {', '.join(tasks) or 'nothing'} is finished")
        if not parts:
            continue
        unseen = pd.concat([part.unseen for part in parts.values()], ignore_index=True)
        label = f"{split}: {', '.join(unseen['env_id'].unique())}" if split.startswith("task") else split
        for method in METHODS:
            if finished_only and not all(prediction_file(work, split, method, n).exists() for n in parts):
                continue
            try:
                tables = [
                    predicted(part, method, config, prediction_file(work, split, method, n))
                    for n, part in parts.items()
                ]
            except bs.BayeScaleError as error:
                rows.append({"split": label, "method": method, "observations": len(unseen), "note": str(error)})
                continue
            together = pd.concat(tables, ignore_index=True)
            note = "; ".join(sorted({each for each in together["note"] if each}))
            rows.append(
                {"split": label, "method": method, **bs.score(together, crossings=unseen)._asdict(), "note": note}
            )
            print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
        for best_quantiles, method in enumerate(ORACLES):
            scores = bs.score(oracle(unseen, bool(best_quantiles)), crossings=unseen)._asdict()
            rows.append({"split": label, "method": method, **scores, "note": ""})
    out.write_text(HEADER.format(code=code) + markdown(pd.DataFrame(rows)), encoding="utf-8")


def prediction_file(work: Path, split: str, method: str, fold: int) -> Path:
    """Return the path that keeps a method's predictions for a fold."""
    return work / (f"{split}--{method}--{fold}.csv".replace(" ", "_").replace(",", ""))


def markdown(table: pd.DataFrame) -> str:
    """Return the table in Markdown, with the best method of each split in bold; oracles do not compete."""
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
    parser.add_argument(
        "--work", type=Path, default=Path("published_methods"), help="folder that keeps finished predictions"
    )
    parser.add_argument("--kept", action="store_true", help="fit nothing; write the table of the finished predictions")
    parser.add_argument(
        "--code", default="the code beside it", help="name of the code that fitted, for the head of the table"
    )
    parser.add_argument("--smoke", action="store_true", help="few draws, one split")
    given = parser.parse_args()
    config = Config(draws=50) if given.smoke else Config()
    main(config, given.data, given.table, given.work, SPLITS[:1] if given.smoke else SPLITS, given.kept, given.code)
