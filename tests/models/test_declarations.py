"""Check how declared parameters vary over tasks and thresholds, against their formulas, and what a new task draws."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest

from bayescale.models import PRIORS
from bayescale.models.parameters import DECLARED, ONE_TASK_FOR_ALL, with_replacements
from bayescale.models.pooling import ByTaskAndThreshold, Cumulative, Parameter, Shared

X = np.array([-1.0, -0.2, 1.0])
TASKS = 2


def sampled(parameter: Parameter, x: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the value of a parameter and of its sample sites, by the part of their names behind the parameter's."""
    with numpyro.handlers.seed(rng_seed=0), numpyro.handlers.trace() as trace:
        value = parameter.sample(TASKS, x)
    sites = {name.removeprefix(f"{parameter.name}/"): np.asarray(site["value"]) for name, site in trace.items()}
    return np.asarray(value), sites


def by_hand(parameter: Parameter, sites: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return the value that the formula in the docstring of the parameter's class gives."""
    if isinstance(parameter, Shared):
        return sites["prior"] if parameter.drift is None else sites["prior"] + sites.get("drift", 0.0) * x
    if isinstance(parameter, ByTaskAndThreshold):
        tasks = sites["prior"] + parameter.spread.location * sites["departures"]
        return np.vstack([tasks, sites["prior"]])
    if isinstance(parameter, Cumulative):
        rows = []
        for z in (*sites["departures"], np.zeros(len(x))):
            row = [sites["prior"] + parameter.spread.location * z[0]]
            for j in range(len(x) - 1):
                rise = (sites["rise"][j] + parameter.rise_spread.location * z[1 + j]) / (len(x) - 1)
                row.append(row[-1] + rise)
            rows.append(row)
        return np.array(rows)
    rows = []
    for e in range(TASKS + 1):
        z = sites["offsets"][e] if e < TASKS else 0.0
        if parameter.drift is None:
            rows.append(sites["prior"] + parameter.spread.location * z)
            continue
        row = sites["prior"] + parameter.spread.location * z + sites.get("drift", 0.0) * x
        if "departures" in sites and e < TASKS:
            along = sites["departures"][e]
            row = row + parameter.drift_spread.location * along[0] * x
            steps = parameter.walk.location * np.sqrt(np.diff(x)) * along[1:]
            row = row + np.concatenate([[0.0], np.cumsum(steps)])
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("x", [X, np.zeros(1)], ids=["three thresholds", "one threshold"])
@pytest.mark.parametrize("parameter", DECLARED.parameters(), ids=lambda parameter: parameter.name)
def test_a_parameter_follows_its_formula(parameter: Parameter, x: np.ndarray) -> None:
    value, sites = sampled(parameter, x)
    assert value.shape == tuple({"task": TASKS + 1, "threshold": len(x)}[name] for name in parameter.dimensions())
    np.testing.assert_allclose(value, by_hand(parameter, sites, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "parameter", [one for one in DECLARED.parameters() if not isinstance(one, Shared)], ids=lambda one: one.name
)
def test_a_new_task_is_spread_as_the_tasks_of_the_fit_are(parameter: Parameter) -> None:
    """Moments over 4,000 draws: fresh tasks around a fixed population mean, beside sampled tasks around theirs."""
    mean, _ = sampled(parameter, X)
    keys = jax.random.split(jax.random.PRNGKey(1), 4000)
    fresh = np.asarray(jax.vmap(parameter.new_task, in_axes=(None, None, 0))(jnp.asarray(mean[-1]), X, keys)) - mean[-1]

    def departure(key: jax.Array) -> jax.Array:
        with numpyro.handlers.seed(rng_seed=key):
            value = parameter.sample(TASKS, X)
        return value[0] - value[-1]

    own = np.asarray(jax.vmap(departure)(keys))
    error = own.std(axis=0) / np.sqrt(4000)
    assert (abs(fresh.mean(axis=0)) < 5 * error).all()  # up to 3 numbers in 16 parameters: false alarm below 0.1%
    ratio = fresh.std(axis=0) / own.std(axis=0)
    assert (abs(ratio - 1) < 5 / np.sqrt(4000)).all()
    assert (abs(ratio * 1.2 - 1) > 5 / np.sqrt(4000)).all()  # must fail: a spread that is off by a fifth


def test_priors_go_by_the_names_of_parameters_and_are_replaced_by_name() -> None:
    names = [parameter.name for parameter in DECLARED.parameters()]
    assert len(set(names)) == len(names)
    assert set(names) <= set(PRIORS)
    assert {name.partition(".")[0] for name in PRIORS} == set(names)
    wider = with_replacements({"log_sharpness": PRIORS["failure"], "log_batch_optimum.drift": PRIORS["log_sharpness"]})
    replaced = DECLARED.with_priors(wider)
    assert [one.priors() for one in DECLARED.with_priors(PRIORS).parameters()] == [
        one.priors() for one in DECLARED.parameters()
    ]
    changed = {name for one in replaced.parameters() for name, prior in one.priors().items() if prior != PRIORS[name]}
    assert changed == {"log_sharpness", "log_batch_optimum.drift"}
    assert set(ONE_TASK_FOR_ALL) == {name for name, prior in PRIORS.items() if prior.family == "fixed"}


def test_parameters_of_axes_that_do_not_vary_drop_out() -> None:
    names = {one.name for one in DECLARED.for_axes(("utd", "batch_size")).parameters()}
    assert {"utd_share", "log_batch_optimum", "batch_utd_exponent"} < names
    assert not names & {"size_share", "log_rate_optimum", "interaction", "batch_size_room", "rate_utd_exponent"}
