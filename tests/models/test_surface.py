"""Check the joint model against its formulas, written out for one point at a time: two tasks, a new one, all axes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal

from bayescale.float64 import float64
from bayescale.inference.log_density import density_of
from bayescale.models import JointModel
from bayescale.run_length_distribution import RunLengthDistribution

THRESHOLDS = np.array([100.0, 200.0, 500.0])
X = np.array([-1.0, -0.5, 1.0])  # the thresholds, scaled
CONFIGS = pd.DataFrame(
    [
        ("A", 1.0, 64, 1e-4, 100_000),
        ("A", 2.0, 256, 1e-3, 100_000),
        ("A", 2.0, 64, 1e-4, 400_000),
        ("B", 2.0, 128, 1e-4, 300_000),
        ("B", 8.0, 32, 3e-4, 3_000_000),
    ],
    columns=["env_id", "utd", "batch_size", "learning_rate", "model_size"],
)
RUNS = CONFIGS.loc[CONFIGS.index.repeat(3)].assign(seed=np.tile(range(3), 5)).reset_index(drop=True)
POINTS = pd.DataFrame(
    [
        ("A", 0.5, 96, 4e-4, 50_000),
        ("B", 16.0, 512, 2e-3, 1_000_000),
        ("new", 3.0, 64, 1e-4, 2_000_000),
        ("A", 32.0, 8, 1e-2, 200_000),
        ("B", 1.5, 16, 3e-5, 100_000),
    ],
    columns=CONFIGS.columns,
)


def crossings() -> pd.DataFrame:
    """Return three runs of each configuration: one misses the highest threshold, one is early, one diverges."""
    rng = np.random.default_rng(1)
    table = RUNS.loc[RUNS.index.repeat(3)].assign(threshold=np.tile(THRESHOLDS, len(RUNS))).reset_index(drop=True)
    upper = np.exp(11 + 1.2 * np.tile(X, len(RUNS)) + 0.3 * rng.standard_normal(len(table)))
    table = table.assign(env_steps_lower=0.8 * upper, env_steps_upper=upper, censored=False)
    table.loc[5, ["env_steps_lower", "env_steps_upper", "censored"]] = [2e5, np.inf, True]
    table.loc[9, ["env_steps_lower", "env_steps_upper"]] = [0.0, 1.5e4]
    table["status"] = "finished"
    table.loc[13:14, ["env_steps_lower", "env_steps_upper", "censored"]] = [6e4, np.inf, True]
    table.loc[12:14, "status"] = "diverged"
    return table


MODEL = JointModel.for_crossings(crossings())


@float64()
def one_draw() -> dict[str, jax.Array]:
    """Return one draw of every parameter, whose last task is a new one."""
    density = density_of(MODEL)
    vector = np.random.default_rng(3).standard_normal(density.dimension)
    parameters = jax.jit(density.constrain)(jnp.asarray(vector))
    draws = {name: value[None] for name, value in parameters.items()}
    return {name: values[0] for name, values in MODEL.add_task(draws, jax.random.PRNGKey(4)).items()}


DRAW = one_draw()
LOG_LIKELIHOOD = jax.jit(MODEL.log_likelihood)
P = {name: np.asarray(value) for name, value in DRAW.items()}


def centre(env_id: str) -> np.ndarray:
    """Return the mean logs of batch size, learning rate and model size; a new task has the mean of the tasks."""
    logs = np.log(CONFIGS[["batch_size", "learning_rate", "model_size"]]).groupby(CONFIGS["env_id"]).mean()
    return np.asarray(logs.loc[env_id] if env_id in logs.index else logs.mean())


def s_of(utd: float) -> float:
    return float(np.log(utd) - np.log([1.0, 2.0, 8.0]).mean())


def log_optimum(axis: str, e: int, k: int, s: float, n: float) -> float:
    name = {"batch_size": "batch", "learning_rate": "rate"}[axis]
    best = P[f"log_{name}_optimum"][e, k] - P[f"{name}_utd_exponent"][e, k] * s
    if axis == "learning_rate":
        return float(best - P["rate_size_exponent"] * n)
    room, exponent = P["batch_size_room"], P["batch_size_exponent"]
    return float(best + np.log((1 + room) / (1 + room * np.exp(-exponent * n))))


def penalty(e: int, k: int, s: float, n: float, log_batch: float, log_rate: float) -> float:
    z = np.array(
        [log_batch - log_optimum("batch_size", e, k, s, n), log_rate - log_optimum("learning_rate", e, k, s, n)]
    )
    curvature = [np.exp(P["log_batch_curvature"][e, k]), np.exp(P["log_rate_curvature"][e, k])]
    cross = np.tanh(P["interaction"]) * np.sqrt(np.prod(curvature))
    return float(z @ np.array([[curvature[0], cross], [cross, curvature[1]]]) @ z / 2)


def law(env_id: str, e: int, k: int, s: float, n: float) -> float:
    at_optimum = P["log_env_steps_at_centre"][e, k] - penalty(e, k, 0.0, 0.0, *centre(env_id)[:2])
    w, q = expit(P["utd_share"][e, k]), expit(P["size_share"][e, k])
    p, gamma = np.exp(P["log_sharpness"][k]), np.exp(P["log_gamma"][e, k])
    of_utd = (1 - w + w * np.exp(-p * s)) ** (1 / p)
    return float(at_optimum + np.log((1 - q) * of_utd + q * np.exp(-gamma * n)))


def p_reach(env_id: str, e: int, k: int, s: float, n: float, extra: float, at: np.ndarray) -> float:
    """Return the chance to reach a threshold at a log batch size and a log learning rate."""
    distances = np.array([s, *(at - centre(env_id)[:2]), n])
    slopes = [P[f"{name}_failure_slope"] for name in ("utd", "batch", "rate", "size")]
    failing = P["failure"][e] + P["failure_rise"] * X[k] + slopes @ distances
    return float(expit(-failing - P["failure_penalty"] * extra))


def p_reach_all(env_id: str, e: int, s: float, n: float, extra: list[float], at: list[np.ndarray]) -> np.ndarray:
    """Return the chance to reach each threshold at its own log batch size and log learning rate."""
    return np.minimum.accumulate([p_reach(env_id, e, k, s, n, extra[k], np.asarray(at[k])) for k in range(3)])


def seed_noise(point: pd.Series, e: int, k: int) -> float:
    """Return the seed noise; along UTD it changes within the task's swept range, for a new task within any task's."""
    ends = {"A": (1.0, 2.0), "B": (2.0, 8.0)}.get(point["env_id"], (1.0, 8.0))
    logs = np.log(point[["batch_size", "learning_rate", "model_size"]].to_numpy(float)) - centre(point["env_id"])
    slopes = [P[f"{name}_noise_slope"][e] for name in ("utd", "batch", "rate", "size")]
    return float(np.exp(P["log_noise"][e, k] + np.dot(slopes, [s_of(np.clip(point["utd"], *ends)), *logs])))


def spread(point: pd.Series, e: int, k: int) -> float:
    """Return the spread of a new run: each axis adds to it by its log distance beyond the task's swept range."""
    own = CONFIGS[CONFIGS["env_id"] == point["env_id"]] if point["env_id"] in {"A", "B"} else CONFIGS
    beyond = 0.0
    for axis in CONFIGS.columns[1:]:
        nearest = np.clip(point[axis], own[axis].min(), own[axis].max())
        beyond += (np.log(point[axis] / nearest)) ** 2
    within = seed_noise(point, e, k) ** 2 * (1 + P["configuration_effect"] ** 2)
    return float(np.sqrt(within + P["error_growth"] ** 2 * beyond))


def skewness(e: int, k: int) -> float:
    return float(P["skewness"][e, k])


def test_new_runs_and_optima_follow_the_formulas() -> None:
    runs = jax.jit(MODEL.run_lengths)(DRAW, MODEL.points(POINTS))
    optimum = jax.jit(MODEL.optimum)(DRAW, MODEL.points(POINTS.assign(batch_size=1, learning_rate=1.0)))
    for i, point in POINTS.iterrows():
        e = {"A": 0, "B": 1, "new": 2}[point["env_id"]]
        s, n = s_of(point["utd"]), np.log(point["model_size"]) - centre(point["env_id"])[2]
        best = [law(point["env_id"], e, k, s, n) for k in range(3)]
        extra = [penalty(e, k, s, n, *np.log([point["batch_size"], point["learning_rate"]])) for k in range(3)]
        own = np.log(point[["batch_size", "learning_rate"]].to_numpy(float))
        optima = [[log_optimum(name, e, k, s, n) for name in ("batch_size", "learning_rate")] for k in range(3)]
        expected = {
            "location": np.maximum.accumulate(np.add(best, extra)),
            "scale": [spread(point, e, k) for k in range(3)],
            "skewness": [skewness(e, k) for k in range(3)],
            "p_reach": p_reach_all(point["env_id"], e, s, n, extra, [own] * 3),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(getattr(runs, name)[i], values, rtol=1e-9, err_msg=name)
        at_best = {
            "log_batch_size": [log_optimum("batch_size", e, k, s, n) for k in range(3)],
            "log_learning_rate": [log_optimum("learning_rate", e, k, s, n) for k in range(3)],
            "log_env_steps": np.maximum.accumulate(best),
            "p_reach": p_reach_all(point["env_id"], e, s, n, [0.0] * 3, optima),
        }
        for name, values in at_best.items():
            np.testing.assert_allclose(getattr(optimum, name)[i], values, rtol=1e-9, err_msg=name)


def slow_log_likelihood(cells, precision: float) -> float:
    """Return the log likelihood of seeds that are jointly normal; censored times are conditional on the others."""
    table, total = crossings(), 0.0
    effect2 = float(P["configuration_effect"]) ** 2
    for c, config in CONFIGS.sort_values(list(CONFIGS)).reset_index(drop=True).iterrows():
        e, (s, n) = int(config["env_id"] == "B"), (s_of(config["utd"]), 0.0)
        n = np.log(config["model_size"]) - centre(config["env_id"])[2]
        at = np.log([config["batch_size"], config["learning_rate"]])
        mine = table.merge(config.to_frame().T.astype(CONFIGS.dtypes))
        for k in range(3):
            extra = penalty(e, k, s, n, *at)
            noise, reach = seed_noise(config, e, k), p_reach(config["env_id"], e, k, s, n, extra, at)
            width = noise * np.sqrt(1 + effect2)
            middle = law(config["env_id"], e, k, s, n) + extra + skewness(e, k) * width
            seed2 = noise**2 * (1 + 2 * skewness(e, k) ** 2)
            times = mine[mine["threshold"] == THRESHOLDS[k]]
            seen = times[~times["censored"] & (times["env_steps_lower"] > 0)]
            ends = np.log(seen[["env_steps_lower", "env_steps_upper"]].to_numpy(float))
            ends, grid = ends.mean(axis=1), np.mean((ends[:, 1] - ends[:, 0]) ** 2) / 12
            together = (seed2 + grid) * np.eye(len(seen)) + effect2 * seed2
            total += multivariate_normal(np.full(len(seen), middle), together).logpdf(ends)
            total += len(seen) * (np.log(reach) + 0.5 * np.log(2 * np.pi))
            total -= 0.5 * precision * (cells.skewness[k, c] - skewness(e, k) / np.sqrt(1 + effect2)) ** 2
            share = np.linalg.solve(together, np.full(len(seen), effect2 * seed2))
            mean = middle + share @ (ends - middle)
            scale = noise * np.sqrt(1 + effect2 * (1 - share.sum()))
            new = RunLengthDistribution(mean - skewness(e, k) * scale, scale, skewness(e, k), 1.0)
            failed = times["censored"] & (times["status"] == "diverged")
            total += failed.sum() * np.log(1 - reach)
            for _, run in times[times["censored"] & ~failed].iterrows():
                total += np.log(1 - reach * new.reached_by(np.log(run["env_steps_lower"])))
            for _, run in times[times["env_steps_lower"] == 0].iterrows():
                total += np.log(reach * new.reached_by(np.log(run["env_steps_upper"])))
    return float(total)


@pytest.mark.parametrize("precision", [0.0, 3.0])
def test_the_likelihood_equals_that_of_seeds_that_share_a_configuration_effect(precision: float) -> None:
    cells = MODEL.observe(crossings())
    cells = replace(
        cells,
        skewness=cells.skewness + 0.1,
        skewness_precision=np.full_like(cells.skewness, precision),
        weight=0.7,
    )
    fast = float(LOG_LIKELIHOOD(DRAW, cells))
    assert fast == pytest.approx(0.7 * slow_log_likelihood(cells, precision), rel=1e-9)
