"""Does a first small sweep of a task foretell later runs, and choose a cheaper setting than the published pipeline?

Data: sweeps of 72 runs each on three tasks that no earlier sweep of this project holds: SAC on InvertedPendulum-v5 and
on walker-stand of DeepMind Control, and BRO without its optimistic actor, with two blocks, on Walker2d-v5. They are
case_studies/data/new_*.parquet, made with `bayescale sweep` from the plans beside them. For each task there are three
kinds of later runs, with five new seeds for each setting:
  BayeScale           the setting that `bs.allocate` chooses for the highest threshold at the price of the study, and
                      the cheapest settings by the fit at UTD 0.25 (below the sweep), 3 (between) and 8 (above)
  published pipeline  Rybkin et al. (ICML 2025): its B* and eta* at the UTD where its law of data is cheapest
  constant setting    the swept batch size and learning rate that reach the return first at UTD 1, at the same UTD and
                      at 0.25, 3 and 8
`--forecast` fits the sweeps and writes these settings and both predictions to forecasts/new_tasks.csv and
forecasts/new_tasks_published.csv. They were committed before the later runs existed. `--train DIR` trains these runs
and writes data/new_*_heldout.parquet.

Run time: seconds; a minute for --forecast and some ten minutes for --train on two cores.

Expected result: the scores of both predictions, by task; the observed cost of each method's choice beside the cost
foretold; and forecasts/new_tasks.svg, which shows the predicted intervals with the runs that came. Of all times 89% lie
inside the 90% intervals of BayeScale and 74% inside those of the published pipeline.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bayescale as bs
from bayescale.laws import flops
from bayescale.runners import RunConfig, load_plan
from held_out import CONFIG, convergence
from sac_decisions import (
    OURS,
    PUBLISHED,
    cost_of_runs,
    last_seen,
    log_mean_costs,
    published_choice,
    ratios,
    train_like,
)

HERE = Path(__file__).parent
DATA, FORECASTS = HERE / "data", HERE / "forecasts"
CONSTANT = "constant setting"
SETTING = [*CONFIG, "model_size"]
BEYOND = 1e9  # env steps, beyond the edge of any picture; infinite ends of bars are drawn there


@dataclass(frozen=True)
class Study:
    """One task: its sweep, the returns to reach, and the price of an env step.

    Attributes:
        name: the files are data/new_NAME.toml and data/new_NAME.parquet.
        thresholds: returns; settings are chosen for the last one.
        env_step_price: in flops.
    """

    name: str
    thresholds: tuple[float, ...]
    env_step_price: float = 1e7

    @property
    def prices(self) -> bs.Prices:
        """A flop costs 1."""
        return bs.Prices(flop=1.0, env_step=self.env_step_price)


@dataclass(frozen=True)
class Config:
    """Studies, UTDs that no sweep holds, seeds and lengths of the later runs, and arguments of `bayescale.fit`."""

    studies: tuple[Study, ...] = (
        Study("inverted_pendulum", (30.0, 45.0, 60.0, 75.0)),
        Study("walker_stand", (160.0, 200.0, 240.0, 280.0)),
        Study("bro_walker2d", (50.0, 100.0, 200.0, 250.0)),
    )
    other_utds: tuple[float, ...] = (0.25, 3.0, 8.0)
    seeds: tuple[int, ...] = (10, 11, 12, 13, 14)
    run_length: float = 2.5  # env steps of a run, in predicted medians of the highest threshold
    longest: int = 10_000  # env steps
    resamples: int = 4000
    draws: int = 1000
    smoke: bool = False


def forecast(config: Config, study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit a sweep, and return the settings of the later runs with both predictions of their run lengths."""
    curves = bs.read_curves(DATA / f"new_{study.name}.parquet")
    crossings = bs.time_to_threshold(curves, thresholds=study.thresholds)
    posterior = bs.fit(crossings, draws=config.draws, require_convergence=not config.smoke)
    published = bs.fit_published(curves, thresholds=study.thresholds)
    print(f"{study.name}: {convergence(posterior)}", flush=True)
    (env_id,), top = posterior.tasks, study.thresholds[-1]
    ours = bs.allocate(posterior, env_id=env_id, threshold=top, prices=study.prices)
    theirs = published_choice(published, env_id, study.prices, ours.model_size)
    others = bs.recommend(posterior, threshold=top, utd=config.other_utds, prices=study.prices)
    batch, rate = constant_setting(crossings)
    rows = [
        (OURS, "choice", ours.utd, ours.batch_size, ours.learning_rate),
        (PUBLISHED, "choice", *theirs[:3]),
        (CONSTANT, "choice", 1.0, batch, rate),
        *((OURS, "other UTD", *row) for row in others[CONFIG[1:]].itertuples(index=False)),
        *((CONSTANT, "other UTD", utd, batch, rate) for utd in config.other_utds),
    ]
    table = pd.DataFrame(rows, columns=["method", "purpose", *CONFIG[1:]])
    # No batch is larger than the random steps before the first update.
    table["batch_size"] = table["batch_size"].round().astype(int).clip(upper=plan_of(study).warmup_steps)
    table["learning_rate"] = [float(f"{rate:.3g}") for rate in table["learning_rate"]]
    table["utd"] = [float(f"{utd:.3g}") for utd in table["utd"]]
    table.insert(0, "env_id", env_id)
    table["model_size"] = ours.model_size
    batch_sizes, utds = table["batch_size"].to_numpy(float), table["utd"].to_numpy(float)
    step_flops = np.asarray(flops(ours.model_size, batch_sizes, utds, 1.0))
    step_cost = study.prices.cost(step_flops, np.ones(len(table)))
    foretold = posterior.predict(table)
    at_top = foretold[foretold["threshold"] == top].reset_index(drop=True)
    interval = at_top["evaluation_interval"]
    length = np.ceil(config.run_length * at_top["law_q50"] / interval) * interval
    table["env_steps"] = np.minimum(length, config.longest).astype(int)
    table["expected_cost"] = at_top["law_q50"] * step_cost / at_top["p_reach"]
    table["regret"] = [ours.regret["mean"], *[np.nan] * (len(table) - 1)]
    key = ["method", "purpose", *SETTING]
    foretold = foretold.merge(table[[*key, "env_steps", "expected_cost", "regret"]], on=key)
    return foretold, published.predict(table[SETTING].drop_duplicates())


def plan_of(study: Study) -> RunConfig:
    """Return the first run of a study's sweep, whose other settings all later runs share."""
    return load_plan(DATA / f"new_{study.name}.toml").runs[0]


def constant_setting(crossings: pd.DataFrame) -> tuple[int, float]:
    """Return the batch size and learning rate whose runs at UTD 1 reach the highest threshold first, on average.

    A right-censored run counts with its whole length.
    """
    at_one = crossings[(crossings["utd"] == 1) & (crossings["threshold"] == crossings["threshold"].max())]
    by_setting = at_one.assign(steps=last_seen(at_one)).groupby(["batch_size", "learning_rate"], as_index=False)
    mean = by_setting["steps"].mean()
    fastest = mean.loc[mean["steps"].idxmin()]
    return int(fastest["batch_size"]), float(fastest["learning_rate"])


def scores(foretold: pd.DataFrame, published: pd.DataFrame, crossings: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of both predictions, of all runs and of parts of them.

    The parts are the highest return of each task, each UTD that the sweep does not hold, and the settings that the
    published pipeline chose.
    """
    rows = []
    other = foretold[foretold["purpose"] == "other UTD"]
    parts = {
        "all": foretold,
        "highest return": foretold[foretold["threshold"] == foretold.groupby("env_id")["threshold"].transform("max")],
        **{f"UTD {utd:g}": own for utd, own in other.groupby("utd")},
        "published choice": foretold[(foretold["method"] == PUBLISHED) & (foretold["purpose"] == "choice")],
    }
    for name, part in parts.items():
        at = part[[*CONFIG, "threshold"]].drop_duplicates()
        runs = crossings.merge(at)
        for method, table in ((OURS, foretold.drop_duplicates([*CONFIG, "threshold"])), (PUBLISHED, published)):
            rows.append({"runs": name, "predicted by": method, **bs.score(table.merge(at), crossings=runs)._asdict()})
    return pd.DataFrame(rows)


def at_evaluations(published: pd.DataFrame, foretold: pd.DataFrame) -> pd.DataFrame:
    """Return the published quantiles, rounded up to the evaluations at which runs show that they reached a return.

    `Posterior.predict` rounds alike, so that both methods predict what the runs can show.
    """
    (interval,) = foretold["evaluation_interval"].unique()
    levels = ["q05", "q10", "q25", "q50", "q75", "q90", "q95"]
    return published.assign(**{level: np.ceil(published[level] / interval) * interval for level in levels})


def costs(study: Study, foretold: pd.DataFrame, crossings: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return what each method chose and what that cost.

    Returns:
        A row per method with its choice, the cost foretold and the mean cost of the runs; and the cost of each run, one
        row per method and one column per seed.
    """
    top = study.thresholds[-1]
    choices = foretold[(foretold["threshold"] == top) & (foretold["purpose"] == "choice")].reset_index(drop=True)
    runs = [crossings[crossings["threshold"] == top].merge(choices.loc[[i], CONFIG]) for i in choices.index]
    cost = np.stack([cost_of_runs(each, study.prices) for each in runs])
    table = choices[["method", *CONFIG[1:], "expected_cost", "regret"]].assign(
        mean_cost=cost.mean(axis=1), censored=[int(each["censored"].sum()) for each in runs]
    )
    return table, cost


def cost_ratios(config: Config, cost: np.ndarray) -> dict[str, np.ndarray]:
    """Return the cost of each method over that of the first, a geometric mean over tasks, with its 90% interval.

    The interval comes from bootstraps of the seeds.

    Args:
        config: number of bootstraps.
        cost: costs of runs (task, method, seed).
    """
    log_mean = log_mean_costs(cost, config.resamples).mean(axis=0)
    return ratios(log_mean - log_mean[:1])


def draw(parts: list[tuple[Study, pd.DataFrame, pd.DataFrame, pd.DataFrame]]) -> Figure:
    """Draw both predictions of each setting and the runs that came, one panel per task."""
    figure = Figure(figsize=(5.0 * len(parts), 4.6), layout="constrained")
    for i, (study, foretold, published, crossings) in enumerate(parts):
        ax = figure.add_subplot(1, len(parts), i + 1)
        top = study.thresholds[-1]
        ours, theirs, runs = (table[table["threshold"] == top] for table in (foretold, published, crossings))
        ours = ours.drop_duplicates(CONFIG).sort_values(CONFIG[1:]).reset_index(drop=True)
        for y in ours.index:
            setting = ours.loc[[y], CONFIG]
            draw_setting(ax, y, ours.loc[y], theirs.merge(setting).iloc[0], runs.merge(setting))
        names = [f"UTD {row.utd:g}, {row.batch_size}, {row.learning_rate:.2g}" for row in ours.itertuples()]
        ax.set_yticks(range(len(ours)), names)
        ax.set_ylabel("UTD, batch size, learning rate")
        ax.set_xscale("log")
        ax.set_xlim(right=1.5 * last_seen(runs).max())
        ax.set_xlabel("env steps; bars that touch the right edge go on")
        ax.set_title(f"{ours['env_id'].iloc[0]}, return {top:g}", loc="left", fontsize="medium")
    handles = {text: handle for ax in figure.axes for handle, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def draw_setting(ax: Axes, y: float, ours: pd.Series, theirs: pd.Series, runs: pd.DataFrame) -> None:
    """Draw both predictions of a setting as bars around the height `y`, and between them its runs."""
    for shift, colour, predicted, method in ((0.24, "#0072b2", ours, OURS), (-0.24, "#999999", theirs, PUBLISHED)):
        low, middle, high = (float(predicted[name]) for name in ("q05", "q50", "q95"))
        label = f"{method}: 90% interval, with its median"
        end = min(high, BEYOND)
        ax.plot([low, end], [y + shift] * 2, color=colour, lw=4, alpha=0.5, solid_capstyle="butt", label=label)
        ax.plot([middle] * 2, [y + shift - 0.1, y + shift + 0.1], color=colour, lw=2)
    heights = y + np.linspace(-0.12, 0.12, len(runs))
    steps, ended = last_seen(runs), runs["censored"]
    ax.plot(steps[~ended], heights[~ended], "o", ms=3.5, color="black", mfc="none", label="a run that reached it")
    ax.plot(steps[ended], heights[ended], ">", ms=4, color="#d55e00", label="a run that ended before it reached it")


def read_forecast(name: str) -> pd.DataFrame:
    """Return a committed forecast; Python's float reads every digit, so that settings match those of the runs."""
    return pd.read_csv(FORECASTS / f"{name}.csv", converters={"utd": float, "learning_rate": float})


def main(config: Config) -> None:
    """Score the committed forecasts on the later runs, print the costs of the choices and draw the runs."""
    foretold, published = read_forecast("new_tasks"), read_forecast("new_tasks_published")
    parts, cost = [], []
    for study in config.studies:
        curves = bs.read_curves(DATA / f"new_{study.name}_heldout.parquet")
        crossings = bs.time_to_threshold(curves, thresholds=study.thresholds)
        env_id = plan_of(study).env_id
        own, theirs = (table[table["env_id"] == env_id] for table in (foretold, published))
        theirs = at_evaluations(theirs, own)
        print(f"\n{env_id}\n{scores(own, theirs, crossings).round(3).to_string(index=False)}")
        chosen, of_runs = costs(study, own, crossings)
        print(chosen.to_string(index=False, float_format="{:.3g}".format))
        parts.append((study, own, theirs, crossings))
        cost.append(of_runs)
    _, *tables = zip(*parts, strict=True)
    over_all = scores(*(pd.concat(each, ignore_index=True) for each in tables))
    print(f"\nall tasks\n{over_all.round(3).to_string(index=False)}")
    ratio = pd.DataFrame({"method": chosen["method"], **cost_ratios(config, np.stack(cost))})
    print(f"\ncost over that of BayeScale, all tasks\n{ratio.round(2).to_string(index=False)}")
    if not config.smoke:
        draw(parts).savefig(FORECASTS / "new_tasks.svg", bbox_inches="tight")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forecast", action="store_true", help="fit the sweeps and write the forecasts")
    parser.add_argument("--train", type=Path, metavar="DIR", help="train the later runs; DIR keeps them")
    parser.add_argument("--smoke", action="store_true", help="forecast one task from few draws; write nothing")
    given = parser.parse_args()
    settings = Config(draws=20, smoke=True) if given.smoke else Config()
    if given.smoke:
        print(forecast(settings, settings.studies[0])[0].to_string())
    if given.forecast:
        made = [forecast(settings, study) for study in settings.studies]
        for table_name, both in zip(("new_tasks", "new_tasks_published"), zip(*made, strict=True), strict=True):
            pd.concat(both).to_csv(FORECASTS / f"{table_name}.csv", index=False)
    if given.train:
        written = read_forecast("new_tasks")
        for each in settings.studies:
            template = plan_of(each)
            own_rows = written[written["env_id"] == template.env_id]
            later = train_like([template], own_rows, settings.seeds, given.train / each.name)
            bs.write_curves(later, DATA / f"new_{each.name}_heldout.parquet")
    main(settings)
