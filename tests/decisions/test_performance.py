"""Test returns beyond the fitted thresholds and returns within a run length against known laws."""

import dataclasses
import importlib

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.decisions.performance import _crossing, _median_return, _return_grid
from bayescale.inference.convergence import Status
from bayescale.posterior.extrapolation import at_thresholds
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution
from tests.scaffolding.prior_posterior import prior_posterior

pytestmark = pytest.mark.filterwarnings("ignore:.*the median return lies above the highest")

THRESHOLDS = np.linspace(300.0, 600.0, 7)
BEYOND = np.array([660.0, 720.0, 780.0])
ASYMPTOTE = 900.0  # no run exceeds this return
CONFIG = pd.DataFrame(
    {"env_id": "Known-v0", "utd": [2.0], "batch_size": 256, "learning_rate": 5e-4, "model_size": 10**5}
)


def log_steps(returns: np.ndarray) -> np.ndarray:
    """Return log env steps of the median run: the distance to the asymptote falls as a power of env steps."""
    return np.log(2e4) + 1.2 * np.log((ASYMPTOTE - THRESHOLDS[0]) / (ASYMPTOTE - returns))


def simulated(seed: int, levels: np.ndarray) -> pd.DataFrame:
    design = pd.DataFrame({"env_id": "Known-v0", "utd": [1.0, 2.0, 4.0], "batch_size": 256, "learning_rate": 5e-4})
    design = design.assign(seeds=8, algorithm="SAC", model_size=10**5)
    ratio = bs.KnownLaw(env_steps=(1.0,), utd_ref=2.0).location(design)
    runs = bs.simulate_runs(
        design,
        thresholds=levels.tolist(),
        location=ratio + log_steps(levels),
        scale=0.1,
        rng=np.random.default_rng(seed),
        correlation=1.0,
    )
    return bs.crossings_of(runs, every=200, horizon=1e6)


def fitted(seed: int) -> Posterior:
    return bs.fit(simulated(seed, THRESHOLDS), chains=2, draws=300, warmup=300, require_convergence=False)


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return fitted(0)


def test_returns_beyond_the_highest_threshold_are_predicted(
    posterior: Posterior,
) -> None:
    predicted = posterior.predict(CONFIG, thresholds=[*THRESHOLDS, *BEYOND])
    table = predicted.set_index("threshold")
    assert not table.loc[THRESHOLDS, "extrapolated"].any()
    assert table.loc[BEYOND, "extrapolated"].all()
    true = np.exp(log_steps(BEYOND))
    assert ((table.loc[BEYOND, "law_q05"] < true) & (true < table.loc[BEYOND, "law_q95"])).all()
    assert (
        table.loc[THRESHOLDS[-1], "law_q95"] < true
    ).all()  # the control: the last threshold's env steps are too few
    width = np.log(table["law_q95"] / table["law_q05"])
    assert (np.diff(width.loc[[THRESHOLDS[-1], *BEYOND]]) > 0).all()
    fresh = simulated(1, np.array([*THRESHOLDS, *BEYOND]))
    fresh = fresh[(fresh["utd"] == 2.0) & (fresh["threshold"] > THRESHOLDS[-1])]
    assert bs.score(predicted, crossings=fresh).coverage90 > 0.8


def test_fitted_thresholds_and_those_between_agree_with_plain_predictions(posterior: Posterior) -> None:
    plain, again = posterior.predict(CONFIG), posterior.predict(CONFIG, thresholds=list(THRESHOLDS))
    quantiles = ["q05", "q50", "q95", "law_q05", "law_q50", "law_q95", "p_reach"]
    np.testing.assert_allclose(again[quantiles], plain[quantiles], rtol=0.01)
    between = posterior.predict(CONFIG, thresholds=[THRESHOLDS[2], (THRESHOLDS[2] + THRESHOLDS[3]) / 2, THRESHOLDS[3]])[
        "law_q50"
    ]
    assert between.is_monotonic_increasing
    assert between[1] == pytest.approx(np.sqrt(between[0] * between[2]), rel=0.03)


def test_the_return_within_a_length_inverts_the_time_to_a_return(posterior: Posterior) -> None:
    for level in (350.0, 550.0, 720.0):
        reached = bs.performance(posterior, CONFIG, env_steps=float(np.exp(log_steps(np.array([level]))[0])))
        assert reached["q05"].item() < level < reached["q95"].item()
        assert reached["law_q05"].item() <= level * 1.02
        assert reached["law_q95"].item() >= level * 0.98
        assert reached["extrapolated"].item() == (reached["q50"].item() > THRESHOLDS[-1])
    twice = bs.performance(posterior, CONFIG, env_steps=2 * float(np.exp(log_steps(np.array([450.0]))[0])))
    assert twice["q05"].item() > 450.0  # the control: twice the steps reach more
    short = bs.performance(posterior, CONFIG, env_steps=500.0)
    assert (short[["q05", "q50", "q95"]] == -np.inf).all(axis=None)


def test_configurations_have_their_own_lengths_and_ceilings_for_any_chunk_size(
    posterior: Posterior, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = pd.concat([CONFIG] * 5, ignore_index=True)
    configs = configs.assign(utd=[1.0, 2.0, 4.0, 2.0, 1.0], env_steps=[5e4, 5e4, 1e5, 2e5, 1e9])
    names, best = ["a", "b", "c", "d", "e"], [900.0, 620.0, 630.0, 640.0, 650.0]
    configs["env_id"] = names  # tasks without runs get equal predictions
    # The package exports a function of the same name, so import_module is needed to get the module.
    monkeypatch.setattr(importlib.import_module("bayescale.decisions.performance"), "CHUNK", 2)
    together = bs.performance(posterior, configs, ceiling=dict(zip(names, best, strict=True)), new_task=True)
    returns = [500.0, 635.0]
    monkeypatch.setattr("bayescale.posterior.predictive.CHUNK", 2)
    predicted = posterior.predict(
        configs.drop(columns="env_steps"),
        thresholds=returns,
        ceiling=dict(zip(names, best, strict=True)),
        new_task=True,
    )
    for i, ceiling in enumerate(best):
        one = configs.iloc[[i]].reset_index(drop=True)
        alone = bs.performance(posterior, one, ceiling=ceiling, new_task=True)
        pd.testing.assert_frame_equal(together.iloc[[i]].reset_index(drop=True), alone)
        alone = posterior.predict(one.drop(columns="env_steps"), thresholds=returns, ceiling=ceiling, new_task=True)
        pd.testing.assert_frame_equal(predicted.iloc[2 * i : 2 * i + 2].reset_index(drop=True), alone)
    assert (together["q95"] <= best).all()
    assert together["extrapolated"].all()
    assert (together["q50"] < THRESHOLDS[-1]).any()
    assert predicted["p_reach"][1::2].gt(0.0).tolist() == [True, False, False, True, True]


def test_the_return_at_which_a_probability_crosses_a_level_by_hand() -> None:
    probability = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.8], [0.6, 0.5, 0.1], [0.9, 0.8, 0.7]])
    falls = _crossing(probability, np.array([0.0, 10.0, 30.0]), 0.6)
    assert falls.tolist() == pytest.approx(
        [7.5, 7.5, -np.inf, np.inf]
    )  # 0.6 lies three quarters of the way from 0.9 to 0.5


def test_the_return_that_a_median_run_reaches_by_hand() -> None:
    location = np.tile([1.0, 2.0, 4.0], (1, 6, 1))
    p_reach = np.full((1, 6, 3), 0.9)
    p_reach[0, 4, 1], p_reach[0, 5, 2] = 0.4, 0.5
    distribution = RunLengthDistribution(location, np.ones_like(location), np.zeros_like(location), p_reach)
    reached = _median_return(
        distribution, np.array([[0.5], [1.0], [3.0], [5.0], [5.0], [5.0]]), np.array([0.0, 10.0, 30.0])
    )
    # The runs end below the lowest return, at it, half-way between two, above all, and where p_reach falls to 0.5.
    assert reached.tolist() == [[-np.inf, 0.0, 20.0, np.inf, 10.0, 30.0]]


def test_the_grid_of_returns_holds_all_thresholds_and_reaches_far_beyond(posterior: Posterior) -> None:
    grid = _return_grid(posterior, np.inf)
    assert set(THRESHOLDS) <= set(grid)
    assert (grid[0], grid[-1]) == (300.0, 600.0 + 20.0 * 300.0)
    assert set(_return_grid(posterior, ASYMPTOTE)) > {*grid, ASYMPTOTE}
    assert (_return_grid(posterior, 100.0) == grid).all()
    assert (np.diff(grid) > 0).all()


def test_a_budget_buys_its_length(posterior: Posterior) -> None:
    prices = bs.Prices(flop=1.0, env_step=4e9)
    per_step = 10 * 1e5 * 256 * 2.0 + 4e9
    bought = bs.performance(posterior, CONFIG, budget=per_step * 40_000, prices=prices)
    pd.testing.assert_frame_equal(bought, bs.performance(posterior, CONFIG, env_steps=40_000.0), rtol=1e-9)
    of_the_fit = bs.performance(posterior, CONFIG.drop(columns="model_size"), budget=per_step * 40_000, prices=prices)
    assert of_the_fit["env_steps"].item() == pytest.approx(40_000)


def test_unusable_arguments_are_refused(posterior: Posterior) -> None:
    with pytest.raises(bs.InputError, match="give one of them"):
        bs.performance(posterior, CONFIG)
    with pytest.raises(bs.InputError, match="give one of them"):
        bs.performance(posterior, CONFIG.assign(env_steps=5), env_steps=5.0)
    for length in (-1.0, 0.0, np.inf, np.nan):
        with pytest.raises(bs.InputError, match="env_steps must be a finite number > 0"):
            bs.performance(posterior, CONFIG, env_steps=length)
    with pytest.raises(bs.InputError, match="budget must be a finite number > 0"):
        bs.performance(posterior, CONFIG, budget=0.0)
    with pytest.raises(bs.InputError, match="configs: env_steps must be a number; got 10,000 at row 0"):
        bs.performance(posterior, CONFIG.assign(env_steps="10,000"))
    with pytest.raises(bs.InputError, match=r"need at least 3 fitted thresholds; got 2\. Fit more"):
        bs.performance(prior_posterior(), CONFIG, env_steps=1e5)
    with pytest.raises(bs.InputError, match="at least the lowest fitted, 300"):
        posterior.predict(CONFIG, thresholds=[200.0, 400.0])
    distribution = RunLengthDistribution(*(np.ones((5, 1, 2)) for _ in range(4)))
    with pytest.raises(bs.InputError, match="beyond 2 need 3 fitted thresholds; got 2"):
        at_thresholds(distribution, np.array([1.0, 2.0]), [1.0, 3.0])


def test_no_return_above_every_ceiling_is_reached() -> None:
    location = np.tile(np.linspace(9.0, 10.0, 5), (200, 1, 1))
    shape = location.shape
    distribution = RunLengthDistribution(location, np.full(shape, 0.1), np.zeros(shape), np.full(shape, 0.99))
    far = at_thresholds(distribution, np.arange(5.0), [4.0, 8.0, 1e6])
    assert far.p_reach[..., 2].max() == 0.0
    assert 0.0 < (far.p_reach[..., 1] > 0).mean() <= 1.0
    again = at_thresholds(distribution, np.arange(5.0), [4.0, 8.0, 1e6])
    np.testing.assert_array_equal(far.location, again.location)


def test_runs_exceed_a_return_only_if_it_is_no_ceiling(posterior: Posterior) -> None:
    quantiles = ["q05", "q50", "q95", "law_q05", "law_q50", "law_q95"]
    free, bounded = (bs.performance(posterior, CONFIG, env_steps=1e9, ceiling=ceiling) for ceiling in (None, ASYMPTOTE))
    assert free["q95"].item() > free["q50"].item() > ASYMPTOTE  # the control: without a ceiling
    assert (bounded[quantiles] <= ASYMPTOTE).all(axis=None)
    assert bounded["q50"].item() > 0.99 * ASYMPTOTE
    returns = [*THRESHOLDS, *BEYOND, ASYMPTOTE, 950.0]
    free, bounded = (
        posterior.predict(CONFIG, thresholds=returns, ceiling=ceiling).set_index("threshold")
        for ceiling in (None, {"Known-v0": ASYMPTOTE})
    )
    assert free.loc[950.0, "p_reach"] > 0.2  # the control: without a ceiling
    assert bounded.loc[950.0, "p_reach"] == 0.0
    assert np.isinf(bounded.loc[950.0, quantiles].to_numpy(float)).all()
    pd.testing.assert_frame_equal(bounded.loc[THRESHOLDS], free.loc[THRESHOLDS])


def test_a_return_above_all_that_runs_reached_is_said_to_rest_on_an_assumption(posterior: Posterior) -> None:
    configs = pd.concat([CONFIG] * 2, ignore_index=True).assign(env_steps=[2.2e4, 1e9])
    with pytest.warns(
        UserWarning, match=r"^1 row of 2: .*any run reached \(600\); it rests on the prior of the ceiling"
    ):
        free = bs.performance(posterior, configs)
    with pytest.warns(UserWarning, match=r"it rests on the stated ceiling\.$"):
        bs.performance(posterior, configs, ceiling=ASYMPTOTE)
    assert free["beyond_data"].tolist() == [False, True]
    assert free["extrapolation"][0] == ""
    assert free["extrapolation"][1].endswith("above the highest fitted, 600")
    seen = dataclasses.replace(posterior, crossings=posterior.crossings.assign(highest_return=1e9))
    assert not bs.performance(seen, configs)["beyond_data"].any()


def test_just_below_a_ceiling_single_runs_and_the_median_run_agree(posterior: Posterior) -> None:
    said = bs.performance(posterior, CONFIG, env_steps=1e12, ceiling=ASYMPTOTE).iloc[0]
    assert ASYMPTOTE - 0.1 < said["law_q50"] <= said["law_q95"] <= ASYMPTOTE
    assert ASYMPTOTE - 0.1 < said["q50"] < ASYMPTOTE


def test_a_known_ceiling_brings_the_predictions_below_it_near_the_truth(posterior: Posterior) -> None:
    """The errors are means over four sweeps, because the error of one varies by a quarter with the draws."""
    others = [fitted(seed) for seed in (1, 2, 3)]
    true, errors = np.exp(log_steps(BEYOND)), []
    for one in (posterior, *others):
        free, bounded = (one.predict(CONFIG, thresholds=BEYOND, ceiling=ceiling) for ceiling in (None, ASYMPTOTE))
        assert ((bounded["law_q05"] < true) & (true < bounded["law_q95"])).all()
        errors.append([np.log(table["q50"].to_numpy() / true) for table in (free, bounded)])
        near, far = np.log(bounded["q50"] / free["q50"]).iloc[[0, -1]]
        assert abs(near) < 0.25 * far  # near the fitted thresholds a ceiling hardly matters
    without, known = abs(np.mean(errors, axis=0))
    assert known[-1] < 0.5 * without[-1]
    assert without[-1] > 0.2  # the control: without the ceiling the returns just below it are expected too early


def test_the_command_writes_returns(posterior: Posterior, tmp_path, capsys) -> None:
    dataclasses.replace(posterior, status=Status.CONVERGED).save(tmp_path / "fit.nc")  # the chains are short
    CONFIG.to_csv(tmp_path / "configs.csv", index=False)
    out = tmp_path / "returns.csv"
    arguments = ["performance", str(tmp_path / "fit.nc"), "--at", str(tmp_path / "configs.csv"), "--out", str(out)]
    assert cli.main([*arguments, "--env-steps", "40000"]) == 0
    expected = bs.performance(posterior, CONFIG, env_steps=40_000.0)
    np.testing.assert_allclose(pd.read_csv(out)["q50"], expected["q50"])
    assert cli.main(arguments) == 2
    lengths = tmp_path / "lengths.csv"
    CONFIG.assign(env_steps="10,000").to_csv(lengths, index=False)
    capsys.readouterr()
    assert cli.main([*arguments[:3], str(lengths), *arguments[4:]]) == 2
    assert f"error: {lengths} holds 10,000, whose comma " in capsys.readouterr().err
    predict = ["predict", str(tmp_path / "fit.nc"), "--at", str(tmp_path / "configs.csv"), "--out", str(out)]
    assert cli.main([*predict, "--thresholds", "600,700"]) == 0
    assert list(pd.read_csv(out)["threshold"]) == [600.0, 700.0]
    ceilings = tmp_path / "ceilings.csv"
    ceilings.write_text("env_id,ceiling\nKnown-v0,650\n")
    for ceiling in ("650", ceilings):
        assert cli.main([*predict, "--thresholds", "600,700", "--ceiling", str(ceiling)]) == 0
        predicted = pd.read_csv(out)["p_reach"]
        assert predicted[0] > predicted[1] == 0.0
        assert cli.main([*arguments, "--env-steps", "1e9", "--ceiling", str(ceiling)]) == 0
        assert pd.read_csv(out)["q95"].item() <= 650.0
    assert cli.main([*predict, "--ceiling", "590"]) == 2
