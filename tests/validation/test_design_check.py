"""Test prior predictions and the check of a planned sweep."""

import re

import jax
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.inference.model import prior_draws
from bayescale.models import PRIORS, JointModel, Prior
from bayescale.models.parameters import ONE_TASK_FOR_ALL
from bayescale.validation.design_verdict import verdict
from bayescale.validation.expected_posterior import Followed
from bayescale.validation.plan_variants import simulated, summarised, variants

CONFIGS = pd.DataFrame({"env_id": "A-v0", "utd": [0.25, 1.0, 4.0, 16.0], "batch_size": 256, "learning_rate": 5e-4})


def test_a_plan_places_what_it_varies_and_not_what_it_keeps_constant():
    """Three learning rates over two decades place their optimum; one batch size does not, and a second one helps."""
    design = CONFIGS.merge(pd.DataFrame({"rate": [5e-5, 5e-4, 5e-3]}), how="cross")
    design = design.assign(learning_rate=design.pop("rate"), seeds=4)
    shares = []
    checked = bs.check_design(
        design,
        every=500,
        horizon=1e6,
        rng=np.random.default_rng(0),
        datasets=3,
        draws=80,
        on_progress=shares.append,
    )
    table = checked.table
    assert list(table) == ["prior_sd", "posterior_sd", "ratio", "coverage90", "standard_error"]
    assert table.loc["optimal learning rate, A-v0", "ratio"] < 0.5
    assert table.loc["optimal batch size, A-v0", "ratio"] > 0.8
    assert table.loc["env steps at the optimum, UTD 0.125, A-v0", "ratio"] < 0.5
    assert (table["ratio"] <= 1).all()
    assert (checked.datasets, checked.runs, checked.summary) == (3, 48, "48 runs, 12 configurations, 1 task")
    assert 0.4 < checked.reached < 1  # the priors let settings fail, and the horizon ends slow runs
    place, wide, cheapest = checked.verdict
    assert place.startswith("Can this plan place the optimum? It places the optimal learning rate (90% interval: ")
    assert "does not place the optimal batch size" in place
    assert wide.startswith("How wide will the recommendation be? Its cost will be known within a factor of ")
    assert cheapest.startswith("What is the cheapest change that helps? ")
    changes = checked.changes.set_index("change")
    assert (
        changes.loc["one more batch size above the others, 512", "optimal batch size"]
        < (changes.loc["half the evaluation interval", "optimal batch size"])
    )
    assert shares == pytest.approx(np.arange(1, len(shares) + 1) / len(shares))


def test_prior_predictive_of_a_known_prior_by_hand():
    """All parameters but one are fixed, so the env steps are lognormal."""
    exact = {name: Prior("fixed", prior.location, 0.0) for name, prior in PRIORS.items()}
    exact |= ONE_TASK_FOR_ALL
    exact |= {
        "log_env_steps_at_centre": Prior("normal", np.log(1e5), 1.0),
        "log_noise": Prior("fixed", -10.0, 0.0),
        "failure": Prior("fixed", -50.0, 0.0),
    }
    said = bs.prior_predictive(
        CONFIGS.iloc[[1]], thresholds=(1.0,), every=1e4, horizon=1e6, priors=exact, draws=20_000
    ).squeeze()
    assert said["q50"] == pytest.approx(1e5, rel=0.03)
    assert said["magnitudes"] == pytest.approx(2 * 1.645 / np.log(10), rel=0.03)
    outside = 0.01065  # probability of a standard normal beyond log 10, on each side
    assert said["earlier"] == pytest.approx(outside, abs=0.003)
    assert said["later"] == pytest.approx(outside, abs=0.003)
    assert said["p_reach"] == pytest.approx(1.0)


def test_default_priors_allow_for_orders_of_magnitude_and_higher_thresholds_take_longer():
    said = bs.prior_predictive(CONFIGS, thresholds=(300.0, 500.0, 800.0), every=1000, horizon=1e6, draws=500)
    assert len(said) == 12
    assert (said["magnitudes"] > 2).all()
    assert (said["earlier"] + said["later"]).between(0, 1).all()
    by_threshold = said.groupby("threshold")
    assert by_threshold["q50"].mean().is_monotonic_increasing
    assert by_threshold["later"].mean().is_monotonic_increasing
    assert (by_threshold["later"].mean() > 0.05).all()


def test_bad_arguments_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"thresholds must increase; got \(2, 1\)\."):
        bs.prior_predictive(CONFIGS, thresholds=(2, 1))
    with pytest.raises(InputError, match=r"priors has no 'beta'; the names are"):
        bs.prior_predictive(CONFIGS, priors={"beta": PRIORS["log_sharpness"]})
    with pytest.raises(InputError, match=r"draws must be at least 1; got 0\."):
        bs.prior_predictive(CONFIGS, draws=0)
    for every, horizon in ((0.0, 1e6), (np.inf, np.inf), (1.0, np.nan), (np.nan, 1e6), (1e3, 1e2)):
        with pytest.raises(InputError, match=re.escape(f"horizon; got {every:g} and {horizon:g}. Correct them.")):
            bs.prior_predictive(CONFIGS, every=every, horizon=horizon)
    with pytest.raises(InputError, match=r"configs: utd must be > 0; got -1\.0"):
        bs.prior_predictive(CONFIGS.assign(utd=-1.0))
    with pytest.raises(InputError, match=r"env_steps must be finite and > 0; got -1\."):
        bs.check_design(CONFIGS, every=1000, horizon=1e6, rng=rng, env_steps=-1)
    with pytest.raises(InputError, match=r"datasets must be at least 1; got 0\."):
        bs.check_design(CONFIGS, every=1000, horizon=1e6, rng=rng, datasets=0)
    for size, said in (("small", "a number; got small"), (np.nan, "filled in; got nan"), (-5, "> 0; got -5")):
        with pytest.raises(InputError, match=f"design: model_size must be {said}"):
            bs.check_design(CONFIGS.assign(model_size=size), every=1000, horizon=1e6, rng=rng)


PLAN = """
env_id = "Pendulum-v1"
utd = [0.5, 2]
batch_size = [64]
learning_rate = [1e-3]
seed = [0, 1, 2]
env_steps = { "0.5" = 20_000, "2" = 16_000 }
evaluation_interval = 500
"""


def test_the_command_reads_plans_and_prints_what_they_tell(tmp_path, capsys, monkeypatch):
    """The function is replaced here; the test above runs it."""
    asked = []

    def check(design, **options):
        asked.append((design, options))
        table = pd.DataFrame(
            {"prior_sd": 2.0, "posterior_sd": [0.4, 1.2, 1.8], "ratio": [0.2, 0.6, 0.9]},
            pd.Index(["optimal learning rate, A", "optimal batch size, A", "budget-optimal UTD, A"], name="quantity"),
        )
        changes = pd.DataFrame({"change": ["twice as many seeds"], "runs": [2.0], "work": [2.0], "gain": [0.25]})
        return bs.DesignCheck(("It can.", "It is wide.", "Seeds."), table, changes, 0.9, 2, 6, "6 runs")

    monkeypatch.setattr(bs, "check_design", check)
    (tmp_path / "plan.toml").write_text(PLAN)
    command = ["check-design", str(tmp_path / "plan.toml"), "--datasets", "2", "--thresholds", "3"]
    assert cli.main([*command, "--out", str(tmp_path / "check.csv")]) == 0
    ((design, options),) = asked
    assert isinstance(options.pop("rng"), np.random.Generator)
    options.pop("on_progress")(0.5)
    assert design["seeds"].tolist() == [3, 3]
    assert design["utd"].tolist() == [0.5, 2.0]
    assert design["every"].tolist() == [500, 500]
    assert design["horizon"].tolist() == [20_000, 16_000]
    assert options == {"every": None, "horizon": None, "thresholds": (1, 2, 3), "env_steps": None, "datasets": 2}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("plan: 6 runs; 2 simulated data sets; 90% of their runs cross")
    assert [line.split("  ")[-1] for line in lines[3:6]] == ["places", "places only roughly", "does not place"]
    assert "a factor of 721" in lines[3]
    assert "a factor of 3.73" in lines[3]
    assert lines[8].split("  ")[0] == "twice as many seeds"
    assert "6 more runs and 100% more training" in lines[8]
    assert lines[10:13] == ["It can.", "It is wide.", "Seeds."]
    table = pd.read_csv(tmp_path / "check.csv")
    assert table["quantity"].tolist() == ["optimal learning rate, A", "optimal batch size, A", "budget-optimal UTD, A"]


def test_a_table_needs_the_length_of_the_runs(tmp_path, refused):
    CONFIGS.to_csv(tmp_path / "configs.csv", index=False)
    said = refused("check-design", tmp_path / "configs.csv", "--every", "1000")
    assert said == "error: a table of configurations needs --every and --horizon; give both, or a plan.\n"


def test_a_plan_of_several_widths_is_refused(tmp_path, refused):
    (tmp_path / "plan.toml").write_text(PLAN + "hidden_width = [64, 128]\n")
    assert "several algorithms or widths; give a plan of one" in refused("check-design", tmp_path / "plan.toml")


def test_model_sizes_of_a_design_are_an_axis_of_its_law():
    design = CONFIGS.merge(pd.DataFrame({"model_size": [10_000, 100_000, 1_000_000]}), how="cross")
    said = bs.prior_predictive(design, draws=4000).groupby("model_size")["q50"].mean()
    assert said.is_monotonic_decreasing
    configs, _ = variants(design.assign(seeds=1, every=500.0, horizon=1e6), design.assign(seeds=1))
    model = JointModel.for_crossings(configs.assign(threshold=1.0))
    assert set(model.varying) == {"utd", "batch_size", "learning_rate", "model_size"}
    settings = Followed.of(model, design).settings
    assert settings["utd"].min() == 0.125
    assert settings["utd"].max() == 32.0
    assert settings["model_size"].tolist() == pytest.approx([1e5] * len(settings))


def plan_of(runs):
    """Return a plan of this many runs with settings drawn at random on twenty tasks."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "env_id": rng.choice([f"Task{i}-v0" for i in range(20)], runs),
            "utd": np.exp(rng.uniform(np.log(0.25), np.log(16), runs)),
            "batch_size": rng.integers(16, 1024, runs),
            "learning_rate": np.exp(rng.uniform(np.log(1e-4), np.log(1e-2), runs)),
            "seeds": 1,
            "every": 1000.0,
            "horizon": 1e5,
        }
    )


def test_a_plan_of_ten_thousand_runs_is_summarised_to_a_few_hundred_configurations():
    whole = plan_of(10_000)
    small = summarised(whole)
    assert small["env_id"].nunique() == 3
    assert len(small) <= 100
    kept = whole[whole["env_id"].isin(small["env_id"])]
    assert small["seeds"].sum() == kept["seeds"].sum()
    for axis in ("utd", "batch_size", "learning_rate"):
        assert small[axis].min() == kept[axis].min()
        assert small[axis].max() == kept[axis].max()
    configs, compared = variants(small, whole)
    assert len(configs) <= 300
    assert max(variant.seeds.max() for variant in compared) <= 24
    assert compared[0].runs == pytest.approx(10_000)


def test_the_changes_of_a_plan_by_hand():
    design = CONFIGS.assign(seeds=2, every=100.0, horizon=1000.0)
    configs, (plan, *changes) = variants(design, design)
    work = 2 * 1000 * (4 + 21.25)  # two seeds, a thousand env steps, one plus the UTD of each configuration
    assert (plan.change, plan.runs, plan.work) == ("", 8, work)
    by_name = {change.change: change for change in changes}
    assert list(by_name) == [
        "twice as many seeds",
        "runs twice as long",
        "half the evaluation interval",
        "one more learning rate above the others, 0.0015",
        "one more learning rate below the others, 0.00017",
        "one more batch size above the others, 512",
        "one more batch size below the others, 128",
        "one more UTD above the others, 64",
        "one more UTD below the others, 0.062",
    ]
    seeds, longer, finer, rate, *_, faster, _ = changes
    assert (seeds.runs, seeds.work) == (16, 2 * work)
    assert (longer.runs, longer.work) == (8, 2 * work)
    assert (finer.runs, finer.work, finer.every[0]) == (8, work, 50.0)
    assert (rate.runs, rate.work) == (16, 2 * work)
    assert (faster.runs, faster.work) == (10, work + 2 * 1000 * 65)
    assert configs.loc[rate.seeds > 0, "learning_rate"].unique().tolist() == [5e-4, 1.5e-3]
    assert configs.loc[faster.seeds > 0, "utd"].tolist() == [0.25, 1.0, 4.0, 16.0, 64.0]


def test_configurations_that_a_variant_lacks_tell_nothing():
    design = CONFIGS.assign(seeds=2, every=1000.0, horizon=1e6)
    configs, compared = variants(design, design)
    model = JointModel.for_crossings(configs.drop(columns="seeds").assign(threshold=1.0))
    truths = {name: np.asarray(values)[:1] for name, values in prior_draws(model, jax.random.PRNGKey(0), 2).items()}
    crossings = simulated(model, truths, configs, compared, np.random.default_rng(0))(0, 0)
    absent = crossings[(crossings["learning_rate"] != 5e-4) | (crossings["batch_size"] != 256)]
    assert len(absent) == len(configs) - 4 - 2  # less the plan's configurations and its two further UTDs
    assert (absent["env_steps_lower"] == 0).all()
    assert absent["censored"].all()
    present = crossings.drop(absent.index)
    assert len(present[present["utd"].isin(CONFIGS["utd"])]) == 8


def test_the_verdict_by_hand():
    questions = ["optimal learning rate", "optimal batch size", "budget-optimal UTD", "cost as recommended"]
    table = pd.DataFrame(
        {"prior_sd": 2.0, "posterior_sd": [0.4, 1.2, 1.8, 0.2]}, [f"{question}, A" for question in questions]
    )
    changes = pd.DataFrame(
        {
            "change": ["twice as many seeds", "one more batch size above the others, 512", "half the interval"],
            "runs": [2.0, 1.5, 1.0],
            "work": [2.0, 1.25, 1.0],
            "gain": [0.3, 0.2, 0.05],
            "helps": [True, True, False],
        }
    )
    place, wide, cheapest = verdict(table, changes, extra=np.log(1.12), runs=20)
    assert place == (
        "Can this plan place the optimum? It places the optimal learning rate (90% interval: a factor of 3.73; before "
        "the sweep: a factor of 721), places only roughly the optimal batch size (90% interval: a factor of 51.8; "
        "before the sweep: a factor of 721), and does not place the budget-optimal UTD (90% interval: a factor of "
        "373; before the sweep: a factor of 721)."
    )
    assert wide == (
        "How wide will the recommendation be? Its cost will be known within a factor of 1.93 and the best UTD within "
        "a factor of 373 (90% intervals), and it will cost about 12% more than the best setting."
    )
    assert cheapest == (
        "What is the cheapest change that helps? One more batch size above the others, 512: 10 more runs and 25% "
        "more training narrow the four intervals above by 20% on average."
    )
    *_, none = verdict(table, changes.assign(helps=False), extra=0.1, runs=20)
    assert none == (
        "What is the cheapest change that helps? None of 3 changes narrows these intervals by 10%; the best is twice "
        "as many seeds, 30% for 20 more runs and 100% more training."
    )
