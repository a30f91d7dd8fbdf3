"""Do our recommendations differ from the published ones, by how much, and which would be cheaper to run?

Rybkin et al. (ICML 2025) fit a rule for the batch size and the learning rate to their sweep, and then trained SAC at
the settings that the rule proposes (`grid_proposed_hparams` in their code). Here one fit of the same sweep recommends
settings for the same tasks and UTDs. It also predicts the runs at the published settings before it reads them.

Data: the folder that published_gym.py reads.

Run time: minutes on two cores. With --fit, a fit that was saved before is read instead.

Expected result: two tables in Markdown. The first has both settings for each task and UTD, with the data and compute
that the fit expects at each to reach a return of 800. The second scores the predictions of the runs at the published
settings, by task and UTD.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bayescale as bs
from held_out import convergence, read_settings
from held_out_splits import scores

AT = ["env_id", "utd"]
INTERVAL = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Config:
    """Thresholds of the paper in normalised returns, the return to reach, prices, and arguments of `bayescale.fit`."""

    thresholds: tuple[float, ...] = tuple(1000 - np.geomspace(700, 200, 10))
    wanted: float = 800.0
    prices: bs.Prices = field(default_factory=bs.Prices)
    sampling: dict[str, Any] = field(default_factory=lambda: {"method": "fast"})


def fitted(config: Config, data: Path, saved: Path | None) -> bs.Posterior:
    """Return the fit of the published sweep: the saved one if there is one, else a new one, which is saved."""
    if saved is not None and saved.exists():
        return bs.load(saved)
    curves, scale = bs.read_curves(data / "sweep.parquet"), data / "return_scale.csv"
    crossings = bs.time_to_threshold(curves, thresholds=config.thresholds, return_scale=scale)
    posterior = bs.fit(crossings, **config.sampling)
    if saved is not None:
        posterior.save(saved)
    return posterior


def median_run(posterior: bs.Posterior, config: Config, setting: pd.Series) -> pd.DataFrame:
    """Return env steps, flops and cost of the median run at one setting, one row per posterior draw.

    A frontier over one UTD, whose ranges hold one batch size and one learning rate, has these draws.
    """
    at = bs.frontier(
        posterior,
        env_id=setting["env_id"],
        threshold=config.wanted,
        utd=[setting["utd"]],
        prices=config.prices,
        within={name: (setting[name], setting[name]) for name in ("batch_size", "learning_rate")},
    )
    env_steps, flops = at.env_steps[:, 0], at.flops[:, 0]
    cost = config.prices.flop * flops + config.prices.env_step * env_steps
    return pd.DataFrame({"env_steps": env_steps, "flops": flops, "cost": cost})


def compared(posterior: bs.Posterior, config: Config, published: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task and UTD: both settings, their ratios, and the data and compute that the fit expects.

    Args:
        posterior: the fit.
        config: the return to reach and the prices.
        published: the settings of the published rule, one row per task and UTD.
    """
    ours = bs.recommend(posterior, threshold=config.wanted, prices=config.prices).set_index(AT)
    rows = []
    for _, theirs in published.sort_values(AT).iterrows():
        env_id, utd = (theirs[name] for name in AT)
        own = pd.Series(ours.xs((env_id, utd)))
        own["env_id"], own["utd"] = env_id, utd
        here, there = (median_run(posterior, config, setting) for setting in (own, theirs))
        row: dict[str, Any] = {"env_id": env_id, "utd": utd, "best": own["recommended"]}
        for name in ("batch_size", "learning_rate"):
            row |= {name: own[name], f"{name}_published": theirs[name], f"{name}_ratio": own[name] / theirs[name]}
        for name in ("env_steps", "flops", "cost"):
            row[name], row[f"{name}_published"] = here[name].quantile(INTERVAL), there[name].quantile(INTERVAL)
            row[f"{name}_ratio"] = (there[name] / here[name]).quantile(INTERVAL)
        rows.append(row | {"cheaper": float((here["cost"] < there["cost"]).mean())})
    return pd.DataFrame(rows)


def foretold(predicted: pd.DataFrame, seen: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of the predictions on the runs at the published settings: by task and UTD, by each, and of all.

    `bias` is the mean log ratio of predicted and observed medians, above 0 if predicted too late.
    """

    def scored(chosen: dict[str, Any]) -> dict[str, Any]:
        runs = seen[(seen[list(chosen)] == pd.Series(chosen, dtype=object)).all(axis=1)]
        return chosen | {"observations": len(runs), **scores(predicted, runs)}

    each = [{"env_id": env_id, "utd": utd} for env_id, utd in seen[AT].drop_duplicates().sort_values(AT).to_numpy()]
    by_task = [{"env_id": env_id} for env_id in np.unique(seen["env_id"])]
    by_utd = [{"utd": utd} for utd in np.unique(seen["utd"])]
    return pd.DataFrame([scored(chosen) for chosen in (*each, *by_task, *by_utd, {})])


def settings_table(table: pd.DataFrame) -> str:
    """Return the comparison of settings in Markdown."""
    heads = (
        "task", "UTD", "batch size: ours / published", "learning rate: ours / published", "1,000 env steps: ours",
        "1,000 env steps: published", "flops: ours", "flops: published", "cost of published over ours",
        "ours is cheaper",
    )  # fmt: skip
    lines = [" | ".join(heads), "|".join(["---"] * len(heads))]
    for row in table.to_dict("records"):
        pairs = [
            f"{show(row[name])} / {show(row[f'{name}_published'])} = {row[f'{name}_ratio']:.2f}"
            for name, show in (("batch_size", "{:.0f}".format), ("learning_rate", "{:.2e}".format))
        ]
        spans = [span(row[name] / 1e3, ".0f") for name in ("env_steps", "env_steps_published")]
        spans += [span(row[name], ".3g") for name in ("flops", "flops_published")]
        utd = f"**{row['utd']:g}**" if row["best"] else f"{row['utd']:g}"
        lines.append(
            " | ".join([row["env_id"], utd, *pairs, *spans, span(row["cost_ratio"], ".2f"), f"{row['cheaper']:.0%}"])
        )
    return "".join(f"| {line} |\n" for line in lines)


def scores_table(table: pd.DataFrame) -> str:
    """Return the scores in Markdown."""
    lines = ["task | UTD | observations | coverage90 | wis | male | bias", "---|---|---|---|---|---|---"]
    for row in table.astype(object).where(table.notna(), "all").to_dict("records"):
        utd = row["utd"] if row["utd"] == "all" else f"{row['utd']:g}"
        lines.append(
            f"{row['env_id']} | {utd} | {row['observations']} | {row['coverage90']:.2f} | {row['wis']:.3f} | "
            f"{row['male']:.3f} | {row['bias']:+.2f}"
        )
    return "".join(f"| {line} |\n" for line in lines)


def span(quantiles: pd.Series, form: str) -> str:
    """Return a median with its 90% interval."""
    low, middle, high = (format(float(value), form) for value in quantiles)
    return f"{middle} ({low} to {high})"


def main(config: Config, data: Path, saved: Path | None) -> None:
    """Print both tables; the runs at the published settings are read after they are predicted."""
    posterior = fitted(config, data, saved)
    second_stage = data / "second_stage.parquet"
    published = read_settings(second_stage)
    predicted = posterior.predict(published)
    print(f"{convergence(posterior)}\n", flush=True)
    table = compared(posterior, config, published)
    print(settings_table(table), flush=True)
    ratios = table[["batch_size_ratio", "learning_rate_ratio"]].to_numpy(float)
    off = np.exp(np.median(np.abs(np.log(ratios)), axis=0))
    gain = np.exp(np.log(np.stack(table["cost_ratio"].tolist())).mean(axis=0))
    print(
        f"median factor between the settings: batch size {off[0]:.2f}, learning rate {off[1]:.2f}; geometric "
        f"mean over the settings of the cost of published over ours: {gain[1]:.3f}\n"
    )
    curves, scale = bs.read_curves(second_stage), data / "return_scale.csv"
    seen = bs.time_to_threshold(curves, thresholds=posterior.thresholds, return_scale=scale)
    print(scores_table(foretold(predicted, seen)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the published tables")
    parser.add_argument("--fit", type=Path, help="saved fit of the sweep; fitted and written if the file is missing")
    parser.add_argument("--smoke", action="store_true", help="few draws, converged or not")
    given = parser.parse_args()
    short = {"chains": 1, "draws": 20, "warmup": 30, "require_convergence": False}
    main(Config(sampling=short) if given.smoke else Config(), given.data, given.fit)
