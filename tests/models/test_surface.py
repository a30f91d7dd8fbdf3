"""The joint model of two tasks, a new one and all axes against its formulas written out for one point at a time."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import multivariate_normal

from bayescale.inference.log_density import density_of
from bayescale.models import PRIORS, JointModel
from bayescale.run_length_distribution import RunTimes

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
SD = {name: prior.location for name, prior in PRIORS.items()}


def crossings() -> pd.DataFrame:
    """Three seeds of each configuration; one never reaches the highest threshold, one is early at the lowest."""
    rng = np.random.default_rng(1)
    table = RUNS.loc[RUNS.index.repeat(3)].assign(threshold=np.tile(THRESHOLDS, len(RUNS))).reset_index(drop=True)
    upper = np.exp(11 + 1.2 * np.tile(X, len(RUNS)) + 0.3 * rng.standard_normal(len(table)))
    table = table.assign(env_steps_lower=0.8 * upper, env_steps_upper=upper, censored=False)
    table.loc[5, ["env_steps_lower", "env_steps_upper", "censored"]] = [2e5, np.inf, True]
    table.loc[9, ["env_steps_lower", "env_steps_upper"]] = [0.0, 1.5e4]
    return table


MODEL = JointModel.for_crossings(crossings())


def one_draw() -> dict[str, jax.Array]:
    """Of every parameter, with a new task's after those of the others."""
    density = density_of(MODEL)
    vector = np.random.default_rng(3).standard_normal(density.dimension)
    sites = jax.jit(density.constrain)(MODEL.observe(crossings()), jnp.asarray(vector))
    draws = {name: value[None] for name, value in sites.items()}
    return {name: values[0] for name, values in MODEL.with_new_task(draws, jax.random.PRNGKey(4)).items()}


SITES = one_draw()
LOG_LIKELIHOOD = jax.jit(MODEL.log_likelihood)
P = {name: np.asarray(value) for name, value in SITES.items()}


def centre(env_id: str) -> np.ndarray:
    """Mean logs of batch size, learning rate and model size; of the mean task for a new one."""
    logs = np.log(CONFIGS[["batch_size", "learning_rate", "model_size"]]).groupby(CONFIGS["env_id"]).mean()
    return np.asarray(logs.loc[env_id] if env_id in logs.index else logs.mean())


def s_of(utd: float) -> float:
    return float(np.log(utd) - np.log([1.0, 2.0, 8.0]).mean())


def by_task(name: str, mean: str, e: int, k: int) -> float:
    line = P[mean] + SD[f"{name}_sd"] * P[f"{name}_z"][e]
    line += (P[f"{name}_drift"] + SD["drift_sd"] * P[f"{name}_drift_z"][e]) * X[k]
    return float(line + sum(SD["walk_sd"] * np.sqrt(X[i + 1] - X[i]) * P[f"{name}_walk_z"][e, i] for i in range(k)))


def shared_line(name: str, k: int) -> float:
    return float(P[name] + P[f"{name}_drift"] * X[k])


def rule(axis: str, e: int, k: int, s: float, n: float) -> float:
    slope = shared_line(f"{axis}_slope", k) + SD["slope_sd"] * P[f"{axis}_slope_z"][e]
    best = by_task(axis, f"{axis}_mean", e, k) - slope * s
    if axis == "learning_rate":
        return float(best + P["learning_rate_size"] * n)
    room, gamma = P["batch_size_room"], P["batch_size_gamma"]
    return float(best + np.log((1 + room) / (1 + room * np.exp(-gamma * n))))


def penalty(e: int, k: int, s: float, n: float, log_batch: float, log_rate: float) -> float:
    z = np.array([log_batch - rule("batch_size", e, k, s, n), log_rate - rule("learning_rate", e, k, s, n)])
    curvature = [
        np.exp(shared_line(f"{axis}_curvature", k) + SD["curvature_sd"] * P[f"{axis}_curvature_z"][e])
        for axis in ("batch_size", "learning_rate")
    ]
    cross = np.tanh(P["interaction"]) * np.sqrt(np.prod(curvature))
    return float(z @ np.array([[curvature[0], cross], [cross, curvature[1]]]) @ z / 2)


def law(env_id: str, e: int, k: int, s: float, n: float) -> float:
    rises = sum(P["gap_mean"][i] + SD["gap_sd"] * P["gap_z"][e, i] for i in range(k)) / 2
    level = P["level_mean"] + SD["level_sd"] * P["level_z"][e] + rises - penalty(e, k, 0.0, 0.0, *centre(env_id)[:2])
    w, q = (expit(by_task(name, name, e, k)) for name in ("min_share", "size_share"))
    alpha = np.exp(shared_line("log_alpha", k))
    gamma = np.exp(shared_line("log_gamma", k) + SD["log_gamma_sd"] * P["log_gamma_z"][e])
    return float(level + np.log((1 - q) * (w + (1 - w) * np.exp(-alpha * s)) + q * np.exp(-gamma * n)))


def p_reach(e: int, k: int, extra: float) -> float:
    failing = P["failure"] + SD["failure_sd"] * P["failure_z"][e] + P["failure_rise"] * X[k]
    return float(expit(-failing - P["failure_penalty"] * extra))


def spread(point: pd.Series, e: int, k: int) -> float:
    """Of a seed; over UTD it changes within those of the task's runs alone, for a new task those of any."""
    ends = {"A": (1.0, 2.0), "B": (2.0, 8.0)}.get(point["env_id"], (1.0, 8.0))
    logs = np.log(point[["batch_size", "learning_rate", "model_size"]].to_numpy(float)) - centre(point["env_id"])
    distances = {"utd": s_of(np.clip(point["utd"], *ends))} | dict(
        zip(("batch_size", "learning_rate", "model_size"), logs, strict=True)
    )
    log = P["log_noise_mean"][k] + SD["log_noise_sd"] * P["log_noise_z"][e, k]
    for axis, distance in distances.items():
        log += (P[f"{axis}_noise"] + SD[f"{axis}_noise_sd"] * P[f"{axis}_noise_z"][e]) * distance
    return float(np.exp(log))


def skew(e: int, k: int) -> float:
    return float(P["skew_mean"][k] + SD["skew_sd"] * P["skew_z"][e, k])


def test_new_runs_and_optima_follow_the_formulas() -> None:
    runs = jax.jit(MODEL.runs)(SITES, MODEL.points(POINTS))
    optimum = jax.jit(MODEL.optimum)(SITES, MODEL.points(POINTS.assign(batch_size=1, learning_rate=1.0)))
    for i, point in POINTS.iterrows():
        e = {"A": 0, "B": 1, "new": 2}[point["env_id"]]
        s, n = s_of(point["utd"]), np.log(point["model_size"]) - centre(point["env_id"])[2]
        best = [law(point["env_id"], e, k, s, n) for k in range(3)]
        extra = [penalty(e, k, s, n, *np.log([point["batch_size"], point["learning_rate"]])) for k in range(3)]
        width = np.sqrt(1 + P["misfit"] ** 2)
        expected = {
            "location": np.maximum.accumulate(np.add(best, extra)),
            "scale": [width * spread(point, e, k) for k in range(3)],
            "skew": [skew(e, k) for k in range(3)],
            "p_reach": np.minimum.accumulate([p_reach(e, k, extra[k]) for k in range(3)]),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(getattr(runs, name)[i], values, rtol=1e-9, err_msg=name)
        at_best = {
            "log_batch_size": [rule("batch_size", e, k, s, n) for k in range(3)],
            "log_learning_rate": [rule("learning_rate", e, k, s, n) for k in range(3)],
            "log_env_steps": np.maximum.accumulate(best),
            "p_reach": np.minimum.accumulate([p_reach(e, k, 0.0) for k in range(3)]),
        }
        for name, values in at_best.items():
            np.testing.assert_allclose(getattr(optimum, name)[i], values, rtol=1e-9, err_msg=name)


def slow_log_likelihood(cells, lean: float) -> float:
    """Seeds of a configuration share its misfit: they are normal together; times that are not known, given those."""
    table, total = crossings(), 0.0
    misfit2 = float(P["misfit"]) ** 2
    for c, config in CONFIGS.sort_values(list(CONFIGS)).reset_index(drop=True).iterrows():
        e, (s, n) = int(config["env_id"] == "B"), (s_of(config["utd"]), 0.0)
        n = np.log(config["model_size"]) - centre(config["env_id"])[2]
        at = np.log([config["batch_size"], config["learning_rate"]])
        mine = table.merge(config.to_frame().T.astype(CONFIGS.dtypes))
        for k in range(3):
            extra = penalty(e, k, s, n, *at)
            noise, reach = spread(config, e, k), p_reach(e, k, extra)
            width = noise * np.sqrt(1 + misfit2)
            middle = law(config["env_id"], e, k, s, n) + extra + skew(e, k) * width
            seed2 = noise**2 * (1 + 2 * skew(e, k) ** 2)
            times = mine[mine["threshold"] == THRESHOLDS[k]]
            seen = times[~times["censored"] & (times["env_steps_lower"] > 0)]
            ends = np.log(seen[["env_steps_lower", "env_steps_upper"]].to_numpy(float))
            ends, grid = ends.mean(axis=1), np.mean((ends[:, 1] - ends[:, 0]) ** 2) / 12
            together = (seed2 + grid) * np.eye(len(seen)) + misfit2 * seed2
            total += multivariate_normal(np.full(len(seen), middle), together).logpdf(ends)
            total += len(seen) * (np.log(reach) + 0.5 * np.log(2 * np.pi))
            total -= 0.5 * lean * (cells.lean[c, k] - skew(e, k) / np.sqrt(1 + misfit2)) ** 2
            share = np.linalg.solve(together, np.full(len(seen), misfit2 * seed2))
            mean = middle + share @ (ends - middle)
            scale = noise * np.sqrt(1 + misfit2 * (1 - share.sum()))
            new = RunTimes(mean - skew(e, k) * scale, scale, skew(e, k), 1.0)
            for _, run in times[times["censored"]].iterrows():
                total += np.log(1 - reach * new.reached_by(np.log(run["env_steps_lower"])))
            for _, run in times[times["env_steps_lower"] == 0].iterrows():
                total += np.log(reach * new.reached_by(np.log(run["env_steps_upper"])))
    return float(total)


@pytest.mark.parametrize("lean", [0.0, 3.0])
def test_the_likelihood_equals_that_of_seeds_that_share_their_configurations_misfit(lean: float) -> None:
    cells = MODEL.observe(crossings())
    cells = replace(cells, lean=cells.lean + 0.1, lean_precision=np.full_like(cells.lean, lean), weight=0.7)
    fast = float(LOG_LIKELIHOOD(SITES, cells))
    assert fast == pytest.approx(0.7 * slow_log_likelihood(cells, lean), rel=1e-9)
