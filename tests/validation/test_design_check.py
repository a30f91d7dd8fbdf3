"""Test prior predictions and the check of a planned sweep."""

import re

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.models import PRIORS, Prior
from bayescale.models.parameters import ONE_TASK_FOR_ALL

CONFIGS = pd.DataFrame({"env_id": "A-v0", "utd": [0.25, 1.0, 4.0, 16.0], "batch_size": 256, "learning_rate": 5e-4})


def test_a_wide_grid_of_utds_identifies_the_law():
    """A grid from 1/64 to 64 identifies the slope and both ends; the sharpness stays near its prior, the control."""
    design = CONFIGS.assign(utd=[1 / 64, 1 / 4, 4, 64], seeds=4)
    wide = bs.check_design(
        design, every=500, horizon=1e6, rng=np.random.default_rng(0), datasets=16, draws=80, warmup=100
    )
    assert list(wide.table) == ["prior_sd", "posterior_sd", "ratio", "coverage90", "standard_error"]
    assert wide.table.loc["utd_share", "ratio"] < 0.75 < wide.table.loc["log_sharpness", "ratio"]
    assert wide.table.loc["log env steps, A-v0, UTD 0.0078125", "ratio"] < 0.75
    assert wide.table.loc["log_sharpness", "prior_sd"] == pytest.approx(PRIORS["log_sharpness"].scale, rel=0.1)
    assert (
        wide.table["coverage90"] > 0.9 - 3.3 * wide.table["standard_error"]
    ).all()  # four comparisons: false alarm below 1%
    assert 0.5 < wide.reached <= 1
    assert wide.datasets == 16


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
    with pytest.raises(InputError, match=r"env_steps and horizon must be finite and > 0; got -1\."):
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
env_steps = 20_000
evaluation_interval = 500
"""


def test_the_command_reads_plans_and_prints_what_they_tell(tmp_path, capsys, monkeypatch):
    """The function is replaced here; the test above runs it."""
    asked = []

    def check(design, **options):
        asked.append((design, options))
        columns = {"prior_sd": 1.0, "posterior_sd": [0.2, 0.6, 0.9], "ratio": [0.2, 0.6, 0.9], "coverage90": 0.875}
        names = pd.Index(["log_batch_optimum", "utd_share", "log_sharpness"], name="quantity")
        return bs.DesignCheck(pd.DataFrame({**columns, "standard_error": 0.05}, names), 0.9, 2)

    monkeypatch.setattr(bs, "check_design", check)
    (tmp_path / "plan.toml").write_text(PLAN)
    command = ["check-design", str(tmp_path / "plan.toml"), "--datasets", "2", "--thresholds", "3"]
    assert cli.main([*command, "--out", str(tmp_path / "check.csv")]) == 0
    ((design, options),) = asked
    assert isinstance(options.pop("rng"), np.random.Generator)
    assert design["seeds"].tolist() == [3, 3]
    assert design["utd"].tolist() == [0.5, 2.0]
    assert options == {"every": 500, "horizon": 20_000, "thresholds": (1, 2, 3), "env_steps": None, "datasets": 2}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines[1:4]] == ["identified", "partly identified", "not identified"]
    assert lines[4].startswith("2 data sets; 90% of their times")
    table = pd.read_csv(tmp_path / "check.csv")
    assert table["quantity"].tolist() == ["log_batch_optimum", "utd_share", "log_sharpness"]


def test_a_table_needs_the_length_of_the_runs(tmp_path, refused):
    CONFIGS.to_csv(tmp_path / "configs.csv", index=False)
    said = refused("check-design", tmp_path / "configs.csv", "--every", "1000")
    assert said == "error: a table of configurations needs --every and --horizon; give both, or a plan.\n"


def test_a_plan_of_several_widths_is_refused(tmp_path, refused):
    (tmp_path / "plan.toml").write_text(PLAN + "hidden_width = [64, 128]\n")
    assert "several algorithms or widths; give a plan of one" in refused("check-design", tmp_path / "plan.toml")


def test_model_sizes_of_a_design_are_an_axis_of_its_law(monkeypatch):
    """The design check follows the law's size parameters at the geometric mean of the sizes; nothing is fitted."""
    asked = []

    def replicate(model, *, parameters, at, **_):
        asked.append((model, parameters, at))
        names = [*parameters, "log_env_steps[0,0]", "log_env_steps[1,0]"]
        true = pd.DataFrame(np.zeros((2, len(names))), columns=names)
        draws = np.ones((2, 3, len(names))) * np.array([-1.0, 0.0, 1.0])[:, None]
        return bs.Replications(true, draws, pd.Series(2.0, names), np.zeros(2), np.array([0.5, 1.0]))

    monkeypatch.setattr("bayescale.validation.design_check.replicate", replicate)
    design = CONFIGS.merge(pd.DataFrame({"model_size": [10_000, 100_000, 1_000_000]}), how="cross")
    made = bs.check_design(design, every=500, horizon=1e6, rng=np.random.default_rng(0), datasets=2)
    ((model, followed, at),) = asked
    assert set(model.varying) == {"utd", "model_size"}
    assert {"log_sharpness", "size_share", "log_gamma"} <= set(followed)
    assert "batch_utd_exponent" not in followed
    assert at["utd"].tolist() == pytest.approx([0.125, 32.0])
    assert at["model_size"].tolist() == pytest.approx([1e5, 1e5])
    assert made.table["ratio"].tolist() == pytest.approx([np.sqrt(2 / 3) / 2] * len(made.table))
    assert (made.table["coverage90"] == 1).all()
    assert made.table.index[-1] == "log env steps, A-v0, UTD 32"
    assert made.reached == 0.75
    said = bs.prior_predictive(design, draws=500).groupby("model_size")["q50"].mean()
    assert said.is_monotonic_decreasing
