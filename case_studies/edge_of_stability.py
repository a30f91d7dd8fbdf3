"""Does a fit see the edge of stability that lies inside its sweep, and recommend a setting on the safe side of it?

Data: case_studies/data/edge_sac.parquet, made with `bayescale sweep case_studies/data/edge_sac.toml`: SAC on
Pendulum-v1 at learning rates up to 0.3, where no run learns and some end with infinite values.

Run time: a minute on two cores.

Expected result: the number of runs that reached the return at each setting beside the chance that the fit gives a new
run, below 0.1 at rates of 0.1 and above, where no run reached it, and above 0.9 at rates of 0.01 and below; the setting
that `allocate` recommends, at a learning rate where runs learn; and a picture of the chance over UTD and learning rate
with the runs on top.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import bayescale as bs

HERE = Path(__file__).parent
CONFIG = ["env_id", "utd", "batch_size", "learning_rate"]
SPREAD = 0.06  # decades between two runs of a setting in the picture
LEVELS = (0.1, 0.5, 0.9)  # chances that the picture draws as lines


@dataclass(frozen=True)
class Config:
    """Input file, thresholds, draws and output file."""

    curves: Path = HERE / "data" / "edge_sac.parquet"
    thresholds: tuple[float, ...] = (-800.0, -400.0, -200.0)
    shown: float = -400.0  # threshold of the table, the recommendation and the picture
    draws: int = 1000  # draws of full chains, which follow if the short ones disagree
    picture: Path = HERE / "edge_of_stability.svg"


def main(config: Config, smoke: bool) -> None:
    """Fit the sweep, compare chances with runs, recommend a setting and draw the picture."""
    crossings = bs.time_to_threshold(bs.read_curves(config.curves), thresholds=config.thresholds)
    posterior = bs.fit(crossings, method="fast", draws=config.draws, require_convergence=not smoke)
    print(posterior.status.value)
    runs = crossings[crossings["threshold"] == config.shown]
    swept = runs.groupby(CONFIG, as_index=False).agg(runs=("censored", "size"), missed=("censored", "sum"))
    predicted = posterior.predict(swept)
    predicted = predicted[np.isclose(predicted["threshold"], config.shown)].assign(
        reached=lambda rows: rows["runs"] - rows["missed"]
    )
    print(predicted[["utd", "learning_rate", "runs", "reached", "p_reach"]].round(3).to_string(index=False))
    brier = float(np.mean((runs.merge(predicted, on=CONFIG)["p_reach"] - ~runs["censored"].to_numpy(bool)) ** 2))
    print(f"Brier score of the chance to reach {config.shown:g} over the fitted runs: {brier:.3f}")
    env_id = posterior.tasks[0]
    choice = bs.allocate(posterior, env_id=env_id, threshold=config.shown)
    print(choice.to_json())
    if not smoke:
        draw(posterior, runs, choice, config.shown).savefig(config.picture)


def draw(posterior: bs.Posterior, runs: pd.DataFrame, choice: bs.Allocation, threshold: float) -> Figure:
    """Draw the chance of a new run over UTD and learning rate, the fitted runs and the recommended setting."""
    utd, rate = (
        np.geomspace(runs[axis].min() / beyond, runs[axis].max() * beyond, 41)
        for axis, beyond in (("utd", 1.6), ("learning_rate", 2.0))
    )
    grid = pd.MultiIndex.from_product([rate, utd], names=["learning_rate", "utd"]).to_frame(index=False)
    one = runs.iloc[0]
    predicted = posterior.predict(grid.assign(env_id=one["env_id"], batch_size=one["batch_size"]))
    chance = predicted[np.isclose(predicted["threshold"], threshold)]["p_reach"].to_numpy().reshape(len(rate), len(utd))

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    ax = figure.add_subplot()
    shown = ax.pcolormesh(utd, rate, chance, vmin=0.0, vmax=1.0, cmap="cividis", shading="gouraud", rasterized=True)
    lines = ax.contour(utd, rate, chance, levels=LEVELS, colors="white", linewidths=0.8)
    ax.clabel(lines, fmt=lambda level: f"{level:.0%}", fontsize=8)
    place = runs.groupby(CONFIG)["seed"].rank() - 1
    offset = 10.0 ** (SPREAD * (place - place.groupby([runs[name] for name in CONFIG]).transform("mean")))
    diverged = runs["status"] == "diverged"
    missed = runs["censored"].astype(bool)
    for chosen, marker, fill, label in (
        (~missed, "o", "black", "run that reached the return"),
        (missed & ~diverged, "o", "white", "run that did not"),
        (missed & diverged, "X", "white", "run that diverged"),
    ):
        ax.scatter(
            (runs["utd"] * offset)[chosen], runs["learning_rate"][chosen], 50, marker=marker, facecolors=fill,
            edgecolors="black", linewidths=1.0, label=label, zorder=3,
        )  # fmt: skip
    ax.scatter(
        [choice.utd], [choice.learning_rate], 190, marker="*", facecolors="#D55E00", edgecolors="white", zorder=4,
        label="recommended setting",
    )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="UTD (gradient updates per env step)", ylabel="learning rate")
    for axis, name in ((ax.xaxis, "utd"), (ax.yaxis, "learning_rate")):
        ticks = sorted(runs[name].unique())
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    colours = figure.colorbar(shown, ax=ax, format=lambda value, _: f"{value:.0%}")
    colours.set_label(f"chance that a new run reaches {threshold:g}")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few draws, no picture")
    smoke = parser.parse_args().smoke
    main(Config(draws=60) if smoke else Config(), smoke)
