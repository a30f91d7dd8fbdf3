"""Scaling laws of other fields as plain formulas, for `fit_law`.

Inputs are divided by their geometric means before a fit, so that coefficients are the terms at the centre of the data.

power        y = a x^-b, b > 0; one that rises with x falls with 1/x
chinchilla   L = E + A N^-a + B D^-b, a, b > 0, likewise (Hoffmann et al., NeurIPS 2022)
sigmoid      R = R0 + (A - R0)/(1 + (C_mid/C)^B)           (ScaleRL: Khatri et al., 2025)
problem_size Elo = min(c + m S + m_C log C, c' + m' S): a ramp in log compute C up to a plateau, both with a slope in
             the problem size S             (after Jones, "Scaling Scaling Laws with Board Games", 2021)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Values = Mapping[str, Float[np.ndarray, "..."]]


@dataclass(frozen=True)
class Law:
    """A formula from inputs and parameters to an output.

    Attributes:
        inputs: columns, all > 0.
        output: column.
        parameters: names, in the order of the search.
        positive: those searched in logs.
        formula: (inputs over their geometric means, parameters) -> output; arrays that broadcast.
        start: (inputs over their geometric means, output) -> parameters near the data.
        log_output: residuals of the log output, which is then > 0, else of the output itself.
    """

    inputs: tuple[str, ...]
    output: str
    parameters: tuple[str, ...]
    positive: frozenset[str]
    formula: Callable[[Values, Values], Float[np.ndarray, "..."]]
    start: Callable[[Values, Float[np.ndarray, " row"]], dict[str, float]]
    log_output: bool


def additive(inputs: tuple[str, ...], output: str, floor: bool = True) -> Law:
    """y = E + sum over the inputs x of coefficient_x x^-exponent_x, all parameters > 0; E = 0 without a floor.

    With one input and no floor it is the power law, with two and a floor that of Chinchilla, with UTD and model size
    that of Fu et al. (NeurIPS 2025).
    """
    terms = [(name, f"coefficient_{name}", f"exponent_{name}") for name in inputs]
    parameters = (*(("floor",) if floor else ()), *(part for _, a, b in terms for part in (a, b)))

    def formula(at: Values, p: Values) -> Float[np.ndarray, "..."]:
        total = sum(p[a] * np.exp(-np.minimum(p[b], 50.0) * np.log(at[name])) for name, a, b in terms)
        return np.asarray(total + (p["floor"] if floor else 0.0))

    def start(_: Values, y: Float[np.ndarray, " row"]) -> dict[str, float]:
        share = float(np.median(y)) / (len(inputs) + floor)
        return {name: 0.5 if name.startswith("exponent") else share for name in parameters}

    return Law(inputs, output, parameters, frozenset(parameters), formula, start, log_output=True)


def _sigmoid(at: Values, p: Values) -> Float[np.ndarray, "..."]:
    rise = 1.0 / (1.0 + np.exp(np.clip(p["exponent"] * np.log(p["midpoint"] / at["compute"]), -500, 500)))
    return np.asarray(p["low"] + (p["asymptote"] - p["low"]) * rise)


def _sigmoid_start(_: Values, y: Float[np.ndarray, " row"]) -> dict[str, float]:
    return {"low": float(y.min()), "asymptote": float(y.max()), "midpoint": 1.0, "exponent": 1.0}


def _problem_size(at: Values, p: Values) -> Float[np.ndarray, "..."]:
    ramp = p["ramp"] + p["ramp_size"] * at["size"] + p["ramp_compute"] * np.log(at["compute"])
    return np.asarray(np.minimum(ramp, p["plateau"] + p["plateau_size"] * at["size"]))


def _problem_size_start(at: Values, y: Float[np.ndarray, " row"]) -> dict[str, float]:
    spread = float(np.ptp(y))
    slope = spread / max(float(np.ptp(np.log(at["compute"]))), 1e-3)
    ramp = {"ramp": float(np.mean(y)), "ramp_size": 0.0, "ramp_compute": slope}
    return {**ramp, "plateau": float(np.quantile(y, 0.9)), "plateau_size": 0.0}


POWER = additive(("x",), "y", floor=False)
CHINCHILLA = additive(("parameters", "tokens"), "loss")
SIGMOID = Law(
    ("compute",),
    "reward",
    ("low", "asymptote", "midpoint", "exponent"),
    frozenset({"midpoint", "exponent"}),
    _sigmoid,
    _sigmoid_start,
    log_output=False,
)
PROBLEM_SIZE = Law(
    ("compute", "size"),
    "elo",
    ("ramp", "ramp_size", "ramp_compute", "plateau", "plateau_size"),
    frozenset(),
    _problem_size,
    _problem_size_start,
    log_output=False,
)
LAWS = {"power": POWER, "chinchilla": CHINCHILLA, "sigmoid": SIGMOID, "problem_size": PROBLEM_SIZE}
