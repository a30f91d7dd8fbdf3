"""Test budgets split over tasks against every possible split, and against numbers worked by hand."""

import json
from dataclasses import dataclass
from itertools import permutations, product

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from bayescale.arguments import three_digits
from bayescale.cli import app as cli
from bayescale.decisions.allocation import allocate
from bayescale.decisions.portfolio import _greatest_sum, portfolio
from bayescale.decisions.utility import Prices
from bayescale.errors import InputError
from bayescale.inference.convergence import Status
from bayescale.posterior.posterior import Posterior
from tests.scaffolding.bare_model import BareModel
from tests.scaffolding.prior_posterior import TASKS, prior_posterior

COUNT = Prices(flop=0.0, env_step=1.0)  # a cost is a number of env steps
P_REACH = 0.9


@pytest.mark.parametrize("seed", range(20))
def test_no_other_split_within_the_budget_has_a_greater_sum_or_the_same_for_less(seed):
    rng = np.random.default_rng(seed)
    thresholds = np.cumsum(rng.uniform(0.2, 3.0, 4)) - 5
    cost = rng.uniform(0.05, 0.3, (4, 4)) * np.cumsum(rng.uniform(0.1, 1.0, (4, 4)), axis=1)
    cost /= rng.uniform(cost[:, 0].sum(), cost[:, -1].sum())
    chosen = _greatest_sum(thresholds, cost)
    tasks = np.arange(4)
    splits = np.array([split for split in product(range(4), repeat=4) if cost[tasks, split].sum() <= 1])
    sums = thresholds[splits].sum(axis=1)
    assert thresholds[chosen].sum() == pytest.approx(sums.max(), abs=2e-3 * np.diff(thresholds).min())
    best = splits[sums > sums.max() - 1e-9]
    assert cost[tasks, chosen].sum() <= max(cost[tasks, split].sum() for split in best) + 1e-9
    assert cost[tasks, chosen].sum() <= 1 + 1e-6


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_equal_sums_the_cheapest_is_taken(order):
    """The budget affords two steps up, both on one task or one on each of two tasks."""
    cost = np.array([[0.1, 0.2, 0.31], [0.1, 0.21, 0.30], [0.1, 0.25, 0.35]])[list(order)] / 0.52
    assert _greatest_sum(np.array([0.0, 1.0, 2.0]), cost)[np.argsort(order)].tolist() == [0, 2, 0]


@dataclass(frozen=True)
class TwoTasks(BareModel):
    """A model in which Easy needs 10, 20, 40 env steps to returns 1, 2, 4; Hard 10, 55, 70 or 30, 75, 90 by draw.

    Nine of ten runs reach every return, so that costs are by 1 / 0.9 higher.
    """

    env_ids: tuple[str, ...] = ("Easy-v0", "Hard-v0")
    thresholds: tuple[float, ...] = (1.0, 2.0, 4.0)

    def add_task(self, draws, _):
        return {name: jnp.asarray(values) for name, values in draws.items()}

    def points(self, configs):
        return jnp.asarray((configs["env_id"] == "Hard-v0").to_numpy())

    def run_lengths(self, sites, points):
        hard = jnp.array([10.0, 55.0, 70.0]) + sites["later"]
        location = jnp.log(jnp.where(points[:, None], hard, jnp.array([10.0, 20.0, 40.0])))
        return location, jnp.full_like(location, 1e-6), jnp.zeros_like(location), jnp.full_like(location, P_REACH)


def two_tasks():
    swept = pd.DataFrame({"env_id": ["Easy-v0", "Hard-v0"], "utd": 1.0, "batch_size": 8, "learning_rate": 1e-3})
    crossings = swept.assign(threshold=1.0, env_steps_lower=9.0, env_steps_upper=10.0, censored=False)
    return Posterior(TwoTasks(), {"later": np.array([[0.0, 20.0]])}, {}, crossings, Status.CONVERGED, {})


@pytest.mark.parametrize(
    ("budget", "returns", "cost", "p_within"),
    [
        (30.1, (1.0, 1.0), 30.0, 0.5),  # 20 or 40 by draw: the hard task needs 10 or 30
        (59.9, (2.0, 1.0), 40.0, 1.0),
        (60.1, (4.0, 1.0), 60.0, 0.5),
        (119.9, (2.0, 4.0), 100.0, 1.0),  # returns 4 and 2 would cost 105
        (120.1, (4.0, 4.0), 120.0, 0.5),
        (1e9, (4.0, 4.0), 120.0, 1.0),
    ],
)
def test_a_budget_split_by_hand(budget, returns, cost, p_within):
    split = portfolio(two_tasks(), budget=budget / P_REACH, prices=COUNT, model_size=1)
    assert tuple(choice.env_id for choice in split.choices) == ("Easy-v0", "Hard-v0")
    assert tuple(choice.threshold for choice in split.choices) == returns
    assert split.feasible
    assert split.budget["mean"] == pytest.approx(cost / P_REACH)
    ends = ((cost - 9) / P_REACH, (cost + 9) / P_REACH)  # two draws, 20 apart
    assert (split.budget["q05"], split.budget["q95"]) == pytest.approx(ends)
    assert split.p_within == p_within
    swapped = portfolio(
        two_tasks(), budget=budget / P_REACH, env_ids=["Hard-v0", "Easy-v0"], prices=COUNT, model_size=1
    )
    assert swapped.choices == split.choices[::-1]


def test_choices_equal_those_of_allocate():
    split = portfolio(two_tasks(), budget=119.9 / P_REACH, prices=COUNT, model_size=1)
    for choice in split.choices:
        assert choice == allocate(
            two_tasks(), env_id=choice.env_id, threshold=choice.threshold, prices=COUNT, model_size=1
        )


def test_a_budget_below_the_cost_of_the_lowest_returns_is_infeasible_and_shows_their_choices():
    split = portfolio(two_tasks(), budget=29.9 / P_REACH, prices=COUNT, model_size=1)
    assert (split.feasible, split.budget["mean"], split.p_within) == (False, pytest.approx(30 / P_REACH), 0.5)
    assert [choice.threshold for choice in split.choices] == [1.0, 1.0]
    assert portfolio(two_tasks(), budget=19.9, env_ids=["Easy-v0"], prices=COUNT, model_size=1).feasible


@pytest.mark.parametrize(
    ("budget", "env_ids", "message"),
    [
        (0.0, None, "budget must be a finite number > 0; got 0"),
        (np.inf, None, "budget must be a finite number > 0; got inf"),
        (1.0, [], "env_ids must be one or more tasks, each once; got none"),
        (1.0, ["Easy-v0", "Easy-v0"], "each once; got Easy-v0, Easy-v0"),
    ],
)
def test_unusable_budgets_and_tasks_are_refused(budget, env_ids, message):
    with pytest.raises(InputError, match=message):
        portfolio(two_tasks(), budget=budget, env_ids=env_ids, model_size=1)


def test_the_command_prints_and_writes_the_split(tmp_path, capsys):
    fit, out = tmp_path / "fit.nc", tmp_path / "split.json"
    posterior = prior_posterior()
    posterior.save(fit)
    assert cli.main(["portfolio", str(fit), "--budget", "1e300", "--out", str(out)]) == 0
    written, said = json.loads(out.read_text()), capsys.readouterr().out
    split = portfolio(posterior, budget=1e300)
    assert written == json.loads(split.to_json())
    assert [choice["env_id"] for choice in written["choices"]] == list(TASKS)
    for choice in split.choices:
        assert f"{choice.env_id}  " in said
        assert three_digits(choice.env_steps["q50"]) in said
    assert f"together {split.budget['mean']:.3g}" in said
    assert cli.main(["portfolio", str(fit), "--budget", "1e300", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    one = ["portfolio", str(fit), "--env", TASKS[1], "--budget"]
    assert cli.main([*one, "1e300"]) == 0
    assert TASKS[0] not in capsys.readouterr().out
    assert cli.main([*one, "1", "--out", str(out)]) == 4
    assert json.loads(out.read_text())["feasible"] is False
    assert "does not reach even return 321 on all of the tasks" in capsys.readouterr().err
    assert cli.main([*one, "nan"]) == 2


def test_a_task_without_runs_is_split_for_too():
    posterior = prior_posterior()
    split = portfolio(posterior, budget=1e300, env_ids=["Unseen-v0", TASKS[0]], model_size=1000, new_task=True)
    assert [choice.env_id for choice in split.choices] == ["Unseen-v0", TASKS[0]]
    known = split.choices[1]
    assert known == allocate(posterior, env_id=TASKS[0], threshold=known.threshold, model_size=1000)
