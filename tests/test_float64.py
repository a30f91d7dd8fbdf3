"""The package and its caller each run JAX in a precision of their own, in fresh interpreters."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescale import laws
from bayescale.float64 import float64

ROOT = Path(__file__).parent.parent

IMPORT_ALL = """
import warnings

import jax
import pkgutil
# These packages set filters and options on their own import.
import arviz, gymnasium, h5netcdf, matplotlib.pyplot, numpyro, pandas, rich.progress, scipy.optimize, torch, xarray

options, filters = dict(jax.config.values), list(warnings.filters)
import bayescale
names = [module.name for module in pkgutil.walk_packages(bayescale.__path__, "bayescale.")]
for name in names:
    if not name.endswith(("__main__", "suites.dmc", "suites.playground")):  # these need further extras
        __import__(name)
changed = {name for name, value in jax.config.values.items() if value != options[name]}
assert not changed, changed
added = [one for one in warnings.filters if one not in filters]
assert warnings.filters == filters, added
print(len(names))
"""

CALLER = """
import jax
import jax.numpy as jnp
import numpy as np
{before}
double = jax.jit(lambda x: 2 * x)

def caller_stays_in_float32():
    assert double(np.ones(2)).dtype == jnp.zeros(2).dtype == jnp.float32
    assert jax.grad(lambda x: x**2)(1.0).dtype == jnp.float32
    assert not jax.config.jax_enable_x64

caller_stays_in_float32()
import bayescale as bs
from tests.scaffolding.simulated_curves import simulated_crossings
caller_stays_in_float32()
crossings = simulated_crossings()
posterior = bs.fit(crossings, chains=2, draws=40, warmup=50, require_convergence=False)
caller_stays_in_float32()
configs = crossings[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates()
predicted = posterior.predict(configs)
caller_stays_in_float32()
front = bs.frontier(posterior, env_id=posterior.tasks[0], threshold=posterior.thresholds[0], model_size=1000)
caller_stays_in_float32()
"""

RESULTS = """
results = [*posterior.draws.values(), *posterior.flat_draws().values(), front.env_steps, front.flops]
assert {values.dtype for values in results} == {np.dtype(float)}, {values.dtype for values in results}
rounded = [np.array_equal(values, values.astype(np.float32)) for values in posterior.draws.values()]
assert not any(rounded), "numbers computed in float32 and stored as float64"
print(*(float(values.sum()).hex() for values in (*results, predicted["law_q50"])))
"""

DOUBLE = """
import jax
jax.config.update("jax_enable_x64", True)
import bayescale as bs
import numpy as np
from tests.scaffolding.simulated_curves import simulated_crossings
crossings = simulated_crossings()
posterior = bs.fit(crossings, chains=2, draws=40, warmup=50, require_convergence=False)
configs = crossings[["env_id", "utd", "batch_size", "learning_rate"]].drop_duplicates()
predicted = posterior.predict(configs)
front = bs.frontier(posterior, env_id=posterior.tasks[0], threshold=posterior.thresholds[0], model_size=1000)
"""


def run(code: str, cache: object = "off") -> str:
    """Run code in a fresh interpreter in which a warning is an error, and return what it prints."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    environment = os.environ | {"BAYESCALE_CACHE": str(cache)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_every_module_changes_no_option_of_jax_and_no_warning_filter() -> None:
    assert int(run(IMPORT_ALL)) > 100


def test_results_are_float64_and_the_callers_jax_code_stays_float32(tmp_path: Path) -> None:
    """A caller who uses float64 gets the same results. The first process compiles for all three."""
    used_before = run(CALLER.format(before="jnp.ones(2) + 1") + RESULTS, tmp_path)
    switched_off = run(CALLER.format(before='jax.config.update("jax_enable_x64", False)') + RESULTS, tmp_path)
    assert used_before == switched_off == run(DOUBLE + RESULTS, tmp_path)


def test_the_context_covers_its_block_and_its_thread_alone() -> None:
    with float64():
        assert jnp.zeros(2).dtype == jnp.float64
        with float64():
            assert jnp.zeros(2).dtype == jnp.float64
        assert jnp.zeros(2).dtype == jnp.float64
    assert jnp.zeros(2).dtype == jnp.float32

    @float64()
    def decorated() -> np.ndarray:
        return np.asarray(jnp.exp(1.0))

    assert float(decorated()) == pytest.approx(np.e, rel=1e-15)
    assert float(jnp.exp(1.0)) != pytest.approx(np.e, rel=1e-10)


LAWS = {
    "log_data_ratio": (0.7, 0.2, 0.8),
    "log_crossover_ratio": (0.7, 0.2, 0.8),
    "log_size_ratio": (0.3, 0.5, 0.3, 0.9),
    "log_batch_room": (0.4, 1.2, 0.6),
    "log_optimum": (5.5, 0.4, 0.7),
    "penalty": ((0.3, -0.4), (0.2, 0.5), np.array([[1.0, 0.6], [0.6, 1.0]])),
    "flops": (150_001.0, 256.0, 1.1, 1e6 / 3),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_answer_numbers_and_numpy_arrays_in_float64_and_jax_arrays_in_the_callers_precision(name: str) -> None:
    law = getattr(laws, name)
    number, single = law(*LAWS[name]), law(*jax.tree.map(jnp.asarray, LAWS[name]))
    array = law(*jax.tree.map(lambda value: np.full(3, value) if np.ndim(value) == 0 else value, LAWS[name]))
    with float64():
        double = law(*jax.tree.map(jnp.asarray, LAWS[name]))
        np.testing.assert_allclose(array, double, rtol=1e-14)
        assert double.dtype == jnp.float64
    assert (type(number), number.shape, type(array), array.shape) == (np.ndarray, (), np.ndarray, (3,))
    assert number.dtype == array.dtype == np.float64
    np.testing.assert_allclose(array, number, rtol=1e-15)
    assert single.dtype == jnp.float32
    assert float(single) == pytest.approx(float(number), rel=1e-5)
