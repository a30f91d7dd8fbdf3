"""Test the frontier and the search for the cheapest setting against a dense grid, on a law known in closed form."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from bayescale.decisions.allocation import allocate, allocations
from bayescale.decisions.candidates import ranges, utd_candidates
from bayescale.decisions.frontier import frontier
from bayescale.decisions.utility import Prices, expected_cost, parse_risk
from bayescale.errors import Infeasible, InputError
from bayescale.inference.convergence import Status
from bayescale.posterior.posterior import Posterior
from bayescale.run_length_distribution import RunLengthDistribution
from tests.scaffolding.bare_model import BareModel

TASK = "Known-v0"
COUNT = Prices(flop=0.0, env_step=1.0)  # a cost is a number of env steps
PRICES = Prices(flop=1.0, env_step=3e6)
SIZES = (1_000, 10_000)


@dataclass(frozen=True)
class Valley(BareModel):
    """A model whose best batch size and learning rate are known and fall with UTD, and which shows a trade-off in N.

    D = 1000 (1 + 4 / utd + 5000 / N) exp(penalty) by draw, twice as much to the upper return. The penalty is quadratic
    in the log distances from B* = 300 utd^-0.4 and eta* = 1e-3 utd^-0.3, each multiplied by a number that draws differ
    in.
    """

    env_ids: tuple[str, ...] = (TASK,)
    thresholds: tuple[float, ...] = (1.0, 2.0)
    varying: tuple[str, ...] = ("utd", "batch_size", "learning_rate")

    def add_task(self, draws, _):
        return {name: jnp.asarray(values) for name, values in draws.items()}

    def points(self, configs):
        names = ["utd", "batch_size", "learning_rate"]
        return jnp.asarray(
            configs.assign(model_size=configs.get("model_size", 1000.0))[[*names, "model_size"]].to_numpy(float)
        )

    def run_lengths(self, sites, points):
        utd, batch, rate, size = points.T
        b = jnp.log(batch / (300 * utd**-0.4)) - sites["shift"]
        r = jnp.log(rate / (1e-3 * utd**-0.3)) + sites["shift"]
        least = jnp.log(1000 * (1 + 4 / utd + 5000 / size)) + sites["late"]
        location = (least + 0.4 * b**2 + 0.3 * r**2 + 0.2 * b * r)[:, None] + jnp.log(jnp.array([1.0, 2.0]))
        return RunLengthDistribution(
            location, jnp.full_like(location, 0.2), jnp.zeros_like(location), jnp.full_like(location, 0.9)
        )


def swept(sizes=(1000,)):
    grid = [
        (utd, batch, rate, size)
        for utd in (1, 2, 4, 8)
        for batch in (64, 1024)
        for rate in (1e-4, 1e-2)
        for size in sizes
    ]
    table = pd.DataFrame(grid, columns=["utd", "batch_size", "learning_rate", "model_size"]).astype({"utd": float})
    return table.assign(
        env_id=TASK, algorithm="SAC", seed=0, threshold=1.0, env_steps_lower=9e3, env_steps_upper=1e4, censored=False
    )


def valley(sizes=(1000,), crossings=None, draws=40):
    rng = np.random.default_rng(0)
    sites = {"shift": 0.3 * rng.standard_normal((1, draws)), "late": 0.2 * rng.standard_normal((1, draws))}
    varying = (*Valley.varying, "model_size") if len(sizes) > 1 else Valley.varying
    return Posterior(
        Valley(varying=varying), sites, {}, swept(sizes) if crossings is None else crossings, Status.CONVERGED, {}
    )


def risk_on_a_dense_grid(posterior, utd, prices, risk, sizes=(1000.0,)):
    """Return the least risk at a UTD over a grid of 121 x 121 batch sizes and learning rates: the slow twin."""
    batch, rate, size = (
        each.ravel() for each in np.meshgrid(np.geomspace(64, 1024, 121), np.geomspace(1e-4, 1e-2, 121), sizes)
    )
    points = jnp.stack([jnp.full(len(batch), utd), *map(jnp.asarray, (batch, rate, size))], axis=1)
    steps = np.stack(
        [
            np.exp(posterior.model.run_lengths({"shift": shift, "late": late}, points).location[:, 0])
            for shift, late in zip(posterior.draws["shift"][0], posterior.draws["late"][0], strict=True)
        ]
    )
    step_cost = prices.flop * 10 * size * batch * utd + prices.env_step
    return parse_risk(risk)(expected_cost(steps, step_cost=step_cost, p_reach=np.full_like(steps, 0.9))).min()


@pytest.mark.parametrize("risk", ["mean", "cvar:0.8", "prob:0.9"])
@pytest.mark.parametrize("prices", [COUNT, PRICES])
def test_the_setting_at_each_utd_costs_as_little_as_the_best_of_a_dense_grid(risk, prices):
    posterior = valley()
    front = frontier(posterior, env_id=TASK, threshold=1.0, utd=[1.0, 8.0], prices=prices, risk=risk)
    for i, utd in enumerate(front.utd):
        assert front.risk[i] == pytest.approx(risk_on_a_dense_grid(posterior, utd, prices, risk), rel=2e-3)
    assert front.p_reach == pytest.approx(0.9)


def test_the_search_finds_the_optimum_between_the_points_of_its_coarse_grid():
    front = frontier(valley(draws=1), env_id=TASK, threshold=1.0, utd=[1.0, 2.0, 4.0], prices=COUNT)
    shift = valley(draws=1).draws["shift"].item()
    best = 300 * np.exp(shift) * front.utd**-0.4, 1e-3 * np.exp(-shift) * front.utd**-0.3
    np.testing.assert_allclose(front.batch_size[0], best[0], rtol=0.06)
    np.testing.assert_allclose(front.learning_rate[0], best[1], rtol=0.06)


@pytest.mark.parametrize("sizes", [(1000,), SIZES])
@pytest.mark.parametrize("risk", ["mean", "cvar:0.8", "prob:0.9", "run:0.7"])
def test_the_cheapest_row_is_the_allocation(risk, sizes):
    posterior = valley(sizes)
    asked = {"env_id": TASK, "threshold": 1.0, "prices": PRICES, "risk": risk}
    choice, table = allocate(posterior, **asked), frontier(posterior, **asked).table()
    assert 1 < choice.utd < 8, "the case has its optimum inside"
    assert len(table) > 9
    inside = table[~table["extrapolated"]]
    cheapest = inside.loc[inside["risk"].idxmin()]
    assert cheapest["risk"] == pytest.approx(choice.risk, rel=1e-12)
    assert cheapest[["utd", "batch_size_q50", "learning_rate_q50", "model_size"]].tolist() == pytest.approx(
        [choice.utd, choice.batch_size, choice.learning_rate, choice.model_size]
    )
    assert cheapest["flops_q50"] == pytest.approx(choice.flops["q50"])
    assert cheapest["excess"] == 0
    if len(sizes) > 1:
        assert sizes[0] < choice.model_size < sizes[1]


def test_several_returns_are_searched_as_each_alone():
    posterior = valley()
    together = allocations(posterior, env_id=TASK, thresholds=(1.0, 2.0), prices=PRICES)
    alone = {J: allocate(posterior, env_id=TASK, threshold=J, prices=PRICES) for J in (1.0, 2.0)}
    assert {J: choice.risk for J, choice in together.items()} == pytest.approx(
        {J: choice.risk for J, choice in alone.items()}
    )
    assert together[2.0].risk == pytest.approx(2 * together[1.0].risk)
    within = allocate(posterior, env_id=TASK, budget=together[2.0].risk * 1.0001, prices=PRICES)
    below = allocate(posterior, env_id=TASK, budget=together[2.0].risk * 0.9999, prices=PRICES)
    assert (within.threshold, below.threshold, within.feasible, below.feasible) == (2.0, 1.0, True, True)


def test_compute_of_one_setting_is_proportional_to_data_under_every_draw():
    front = frontier(valley(), env_id=TASK, threshold=1.0, prices=PRICES)
    ratio = front.flops / front.env_steps
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[0], ratio.shape))
    np.testing.assert_allclose(ratio[0], 10 * 1000 * front.batch_size[0] * front.utd)


def test_ranges_beyond_the_sweep_are_searched_and_marked():
    posterior = valley(crossings=swept().replace({"batch_size": {64: 256}}))
    asked = {"env_id": TASK, "threshold": 1.0, "prices": PRICES}
    wide = allocate(posterior, **asked, within={"batch_size": (4, 1024)})
    assert wide.batch_size < 200
    assert wide.risk < allocate(posterior, **asked).risk
    assert wide.extrapolation.startswith("batch_size ")
    assert "below the smallest swept" in wide.extrapolation
    table = frontier(posterior, **asked, within={"batch_size": (4, 1024), "utd": (1, 16)}).table()
    assert table["utd"].max() == 32
    assert table.loc[table["batch_size_q50"] < 256, "extrapolated"].all()
    narrow = allocate(posterior, **asked, within={"utd": (2, 3), "learning_rate": (1e-4, 2e-4)})
    assert 2 <= narrow.utd <= 3
    assert 1e-4 <= narrow.learning_rate <= 2e-4


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ({"width": (1, 2)}, r"within must name axes .* of utd, batch_size, learning_rate; got 'width'"),
        ({"model_size": (1, 2)}, r"within must name axes .*; got 'model_size'"),
        (
            {"utd": (2, 1)},
            r"the lowest and the highest utd, finite and > 0; got \(2, 1\)\. Try within={'utd': \(1, 8\)}",
        ),
        ({"utd": 3}, r"got 3"),
        ({"utd": (0, 1)}, r"got \(0, 1\)"),
    ],
)
def test_unusable_ranges_are_refused(within, message):
    with pytest.raises(InputError, match=message):
        allocate(valley(), env_id=TASK, threshold=1.0, within=within)


def test_settings_nearest_to_failed_ones_are_no_choice_and_their_utds_say_so():
    crossings = swept().assign(status="finished")
    crossings.loc[crossings["utd"] >= 4, "status"] = "diverged"
    posterior = valley(crossings=crossings)
    asked = {"env_id": TASK, "threshold": 1.0, "prices": COUNT}
    table = frontier(posterior, **asked).table()
    assert table.loc[table["utd"] >= 4, "failed"].all()
    assert np.isinf(table.loc[table["failed"], ["env_steps_q50", "flops_q50", "risk"]]).all(axis=None)
    assert not table.loc[table["utd"] <= 2, "failed"].any()
    assert allocate(posterior, **asked).utd < 4
    hopeless = valley(crossings=crossings.assign(status="diverged"))
    with pytest.raises(Infeasible, match="at all swept settings of Known-v0, every run diverged"):
        frontier(hopeless, **asked)


def test_the_utds_to_choose_from_hold_the_swept_ones_and_quarter_octaves():
    posterior = valley()
    assert utd_candidates(posterior, TASK, 1.0, 8.0) == pytest.approx(2 ** np.linspace(0, 3, 13))
    assert utd_candidates(posterior, TASK, 2.0, 2.0).tolist() == [2.0]
    wide = utd_candidates(posterior, TASK, 1e-3, 1e3)
    assert {1e-3, 1.0, 2.0, 4.0, 8.0, 1e3} <= {*wide}
    assert len(wide) <= 27
    assert ranges(posterior, TASK)["batch_size"] == (64.0, 1024.0)


def test_unknown_settings_are_refused():
    with pytest.raises(InputError, match="settings must be cheapest or law; got 'best'"):
        frontier(valley(), env_id=TASK, threshold=1.0, settings="best")
