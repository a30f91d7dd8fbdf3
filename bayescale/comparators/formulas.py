"""Scaling laws of other fields as formulas for `fit_law`.

power         y = a x^-b                             Kaplan et al., "Scaling Laws for Neural Language Models", 2020
chinchilla    L = E + A N^-a + B D^-b                Hoffmann et al., "Training Compute-Optimal Large Language Models",
                                                     NeurIPS 2022
sigmoid       R = R0 + (A - R0) / (1 + (C_mid / C)^B)
                                                     Khatri et al., "The Art of Scaling Reinforcement Learning Compute
                                                     for LLMs" (ScaleRL), 2025
problem_size  Elo = min(c + m S + m_C log C, c' + m' S): a ramp in log compute C up to a plateau, both with a slope in
              the problem size S                     after Jones, "Scaling Scaling Laws with Board Games", 2021

Exponents of the first two laws are > 0. For an output that rises with x, give 1/x as the input. Inputs are divided by
their geometric means before a fit, so coefficients are the sizes of the terms at the centre of the data.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Values = Mapping[str, Float[np.ndarray, "..."]]


@dataclass(frozen=True)
class Law:
    """A formula that gives an output from inputs and parameters.

    Attributes:
        inputs: columns of the inputs, all > 0.
        output: column of the output.
        parameters: names of the parameters, in the order of the search.
        positive: names of the parameters that are > 0, which are searched in logs.
        formula: function of the inputs over their geometric means and the parameters, arrays that broadcast.
        start: function of the inputs over their geometric means and the output; returns parameters near the data.
        log_output: True to fit the log of the output, which must then be > 0; False to fit the output itself.
    """

    inputs: tuple[str, ...]
    output: str
    parameters: tuple[str, ...]
    positive: frozenset[str]
    formula: Callable[[Values, Values], Float[np.ndarray, "..."]]
    start: Callable[[Values, Float[np.ndarray, " row"]], dict[str, float]]
    log_output: bool


def additive(inputs: tuple[str, ...], *, output: str, floor: bool = True) -> Law:
    """Return a law that adds up power laws of the inputs.

        y = floor + sum over inputs x of coefficient_x x^-exponent_x,   all parameters > 0

    One input without a floor gives the power law, two inputs with a floor the Chinchilla law, and the inputs UTD and
    model size the law of Fu et al., "Compute-Optimal Scaling for Value-Based Deep RL" (NeurIPS 2025).

    Args:
        inputs: columns of the inputs.
        output: column of the output.
        floor: False for a law with floor 0.
    """
    terms = [(name, f"coefficient_{name}", f"exponent_{name}") for name in inputs]
    parameters = (*(("floor",) if floor else ()), *(part for _, a, b in terms for part in (a, b)))

    def formula(at: Values, p: Values) -> Float[np.ndarray, "..."]:
        total = sum(p[a] * np.exp(-np.minimum(p[b], 50.0) * np.log(at[name])) for name, a, b in terms)
        return np.asarray(total + (p["floor"] if floor else 0.0))

    def start(_: Values, y: Float[np.ndarray, " row"]) -> dict[str, float]:
        share = float(np.median(y)) / (len(inputs) + floor)
        return {name: 0.5 if name.startswith("exponent") else share for name in parameters}

    return Law(
        inputs=inputs,
        output=output,
        parameters=parameters,
        positive=frozenset(parameters),
        formula=formula,
        start=start,
        log_output=True,
    )


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


POWER = additive(("x",), output="y", floor=False)
CHINCHILLA = additive(("parameters", "tokens"), output="loss")
SIGMOID = Law(
    inputs=("compute",),
    output="reward",
    parameters=("low", "asymptote", "midpoint", "exponent"),
    positive=frozenset({"midpoint", "exponent"}),
    formula=_sigmoid,
    start=_sigmoid_start,
    log_output=False,
)
PROBLEM_SIZE = Law(
    inputs=("compute", "size"),
    output="elo",
    parameters=("ramp", "ramp_size", "ramp_compute", "plateau", "plateau_size"),
    positive=frozenset(),
    formula=_problem_size,
    start=_problem_size_start,
    log_output=False,
)
LAWS = {"power": POWER, "chinchilla": CHINCHILLA, "sigmoid": SIGMOID, "problem_size": PROBLEM_SIZE}
