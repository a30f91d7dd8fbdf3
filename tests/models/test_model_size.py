"""Model size as an axis: its law recovered from simulation, the best size and UTD together, sweeps evaluated rarely."""

import itertools

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.decisions.law_optima import optima
from bayescale.laws import FLOPS_PER_PARAMETER_AND_SAMPLE, log_batch_room, log_data_ratio, log_size_ratio
from bayescale.posterior.posterior import Posterior

LAW = bs.KnownLaw(
    env_steps=(4e4, 9e4), utd_ref=2.0, min_share=0.4, alpha=0.8, batch_size=128.0, batch_size_curvature=0.3,
    model_size_ref=1e6, size_share=0.4, gamma=1.0, batch_size_room=1.5, batch_size_gamma=0.7,
)  # fmt: skip
SIZES = (250_000, 1_000_000, 4_000_000)
FRESH = pd.DataFrame({"utd": [2.0, 2.0, 4.0], "model_size": [125_000, 8_000_000, 16_000_000]}).assign(
    env_id="Known-v0", batch_size=128, learning_rate=5e-4
)


def simulated(seed: int, law: bs.KnownLaw = LAW, every: int = 1000) -> pd.DataFrame:
    grid = itertools.product(["Known-v0"], [1.0, 2.0, 4.0], [32, 128, 512], [5e-4], SIZES, ["BRO"], [4])
    names = ["env_id", "utd", "batch_size", "learning_rate", "model_size", "algorithm", "seeds"]
    design = pd.DataFrame(grid, columns=names)
    runs = bs.simulate_runs(
        design, thresholds=(300.0, 600.0), location=law.location(design), scale=0.15, rng=np.random.default_rng(seed)
    )
    return bs.crossings_of(runs, every=every, horizon=2e6)


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    return bs.fit(simulated(0), chains=2, draws=300, warmup=300, require_convergence=False)


def test_sizes_beyond_the_swept_are_predicted_and_a_fit_that_ignores_size_fails(posterior: Posterior) -> None:
    def misses(fitted: Posterior) -> np.ndarray:
        predicted = fitted.predict(FRESH)
        sd = np.log(predicted["law_q95"] / predicted["law_q05"]) / 3.29
        return np.asarray(abs(np.log(predicted["law_q50"] / np.exp(LAW.location(FRESH)).ravel())) / sd)

    assert misses(posterior).max() < 3.0
    ignorant = simulated(0).assign(model_size=1_000_000)
    ignorant["seed"] += 100 * pd.factorize(simulated(0)["model_size"])[0]  # seeds tell the runs apart instead
    blind = bs.fit(ignorant, chains=2, draws=200, warmup=200, require_convergence=False)
    assert misses(blind).max() > 3.0


def test_small_critics_get_small_batches(posterior: Posterior) -> None:
    small, large = (optima(posterior, "Known-v0", np.array([2.0]), n)[0][:, 0, 0] for n in (SIZES[0], SIZES[-1]))
    true = np.exp([log_batch_room(np.log(n / LAW.model_size_ref), 1.5, 0.7) for n in (SIZES[0], SIZES[-1])])
    ratio = np.quantile(large / small, [0.01, 0.99])
    assert ratio[0] < true[1] / true[0] < ratio[1]
    assert ratio[0] > 1.0


def test_a_size_is_needed_and_chosen(posterior: Posterior) -> None:
    with pytest.raises(bs.InputError, match="configs lack the column model_size"):
        posterior.predict(FRESH.drop(columns="model_size"))
    assert posterior.predict(FRESH)["extrapolated"].all()
    prices = bs.Prices(flop=1.0, env_step=1e9)
    free = bs.allocate(posterior, env_id="Known-v0", threshold=600.0, prices=prices)
    held = [bs.allocate(posterior, env_id="Known-v0", threshold=600.0, prices=prices, model_size=n) for n in SIZES]
    assert SIZES[0] <= free.model_size <= SIZES[-1]
    assert [choice.model_size for choice in held] == list(SIZES)
    assert free.budget["mean"] <= 1.01 * min(choice.budget["mean"] for choice in held)
    assert max(choice.budget["mean"] for choice in held) > 1.05 * free.budget["mean"]  # the size is worth choosing
    front = {
        n: bs.frontier(posterior, env_id="Known-v0", threshold=600.0, utd=np.array([2.0]), model_size=n) for n in SIZES
    }
    assert np.median(front[SIZES[0]].env_steps) > 1.2 * np.median(front[SIZES[-1]].env_steps)


def test_checks_tell_sizes_apart(posterior: Posterior) -> None:
    fresh = simulated(3)
    by_level = bs.coverage(posterior, crossings=fresh, rng=np.random.default_rng(0))
    assert (abs(by_level["coverage"] - by_level.index) < 4 * by_level["standard_error"]).all()
    swapped = fresh.assign(model_size=fresh["model_size"].map(dict(zip(SIZES, SIZES[::-1], strict=True))))
    assert (
        bs.coverage(posterior, crossings=swapped, rng=np.random.default_rng(0)).loc[0.9, "coverage"] < 0.7
    )  # the control
    checks = bs.posterior_predictive_checks(posterior, rng=np.random.default_rng(1))
    assert not checks["flagged"].any()


def test_the_best_utd_and_size_are_those_of_the_closed_form() -> None:
    # Least compute for a given D = D_min + (a/utd)^alpha + (b/N)^gamma at a fixed batch size (Fu et al., 2025).
    alpha, gamma, share, size_share = 0.8, 1.1, 0.4, 0.3
    utds, sizes = np.geomspace(0.05, 200, 1501), np.geomspace(1e4, 1e9, 1501)
    ratio = log_data_ratio(np.log(utds)[:, None], share, alpha)
    data = np.exp(log_size_ratio(ratio, np.log(sizes / 1e6)[None], size_share, gamma))
    wanted = 0.8
    compute = FLOPS_PER_PARAMETER_AND_SAMPLE * sizes[None] * utds[:, None] * wanted
    u, n = np.unravel_index(np.where(data <= wanted, compute, np.inf).argmin(), compute.shape)
    room = wanted - (1 - size_share) * share
    a = ((1 - size_share) * (1 - share)) ** (1 / alpha)
    b = 1e6 * size_share ** (1 / gamma)
    assert utds[u] == pytest.approx(a * ((alpha + gamma) / (gamma * room)) ** (1 / alpha), rel=0.05)
    assert sizes[n] == pytest.approx(b * ((alpha + gamma) / (alpha * room)) ** (1 / gamma), rel=0.05)
    assert utds[u] != pytest.approx(
        a * ((alpha + gamma) / (alpha * room)) ** (1 / alpha), rel=0.05
    )  # swapped exponents


def test_predictions_are_of_the_evaluation_that_shows_a_return(posterior: Posterior) -> None:
    settings = ["env_id", "utd", "batch_size", "learning_rate", "model_size"]
    rare = simulated(2, every=50_000)
    predicted = posterior.predict(rare[settings].drop_duplicates().assign(evaluation_interval=50_000))
    unrounded = posterior.predict(rare[settings].drop_duplicates())
    assert (unrounded["evaluation_interval"] == 1000).all()
    assert (predicted["q50"] % 50_000 == 0).all()
    assert bs.score(predicted, crossings=rare).coverage90 > 0.85
    assert (
        bs.score(unrounded, crossings=rare).coverage90 < 0.75
    )  # the control: times between evaluations come too early
    assert bs.score(predicted, crossings=rare).wis < 0.8 * bs.score(unrounded, crossings=rare).wis
    # The log score reads the interval that an evaluation stands for, so that it needs no rounding.
    assert bs.score(predicted, crossings=rare).log_score == pytest.approx(
        bs.score(unrounded, crossings=rare).log_score, abs=0.15
    )
