"""State the scaling laws as pure functions of logs: data, optimal hyperparameters, their penalty, compute.

All functions take numbers, NumPy arrays or JAX arrays that broadcast together. Numbers and NumPy arrays give a float64
NumPy array. A JAX array among the arguments gives a JAX array, in the precision that the caller has chosen for JAX.

Sources: Rybkin et al., "Value-Based Deep RL Scales Predictably" (ICML 2025), the laws of data, compute, batch size
and learning rate; Fu et al., "Compute-Optimal Scaling for Value-Based Deep RL" (NeurIPS 2025), the law of model size.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

FLOPS_PER_PARAMETER_AND_SAMPLE = 10.0  # 2 target forward, 2 critic forward, 4 backward, 2 in the actor update
AnyArray = np.ndarray | Array


def log_data_ratio(log_utd: ArrayLike, min_share: ArrayLike, alpha: ArrayLike) -> Float[Any, "..."]:
    """Return log D(utd) / D(utd_ref) of the law D = D_min + (beta / utd)^alpha, written at a reference UTD.

        log(w + (1 - w) (utd / utd_ref)^-alpha),   w = D_min / D(utd_ref)

    This form keeps w and alpha nearly independent, where D_min and beta are collinear. Law: Rybkin et al.

    Args:
        log_utd: log(utd / utd_ref).
        min_share: w in (0, 1), the share of the data at the reference UTD that more updates cannot save.
        alpha: exponent, > 0.

    Returns:
        Log ratio of env steps, 0 at the reference UTD.
    """
    xp, s, w, exponent = _arrays(log_utd, min_share, alpha)
    return _array(xp.log(w + (1.0 - w) * xp.exp(-exponent * s)))


def log_crossover_ratio(log_utd: ArrayLike, share: ArrayLike, sharpness: ArrayLike) -> Float[Any, "..."]:
    """Return log D(utd) / D(utd_ref) of the law D^p = D_min^p + (b / utd)^p, written at a reference UTD.

        (1 / p) log(1 - w + w (utd / utd_ref)^-p),   1 - w = (D_min / D(utd_ref))^p

    Where updates are rare, D is proportional to 1 / utd: the number of updates limits learning. Where they are many, D
    is D_min. The sharpness p says how fast one limit gives way to the other. At the reference, w is the slope
    -d log D / d log utd.

    Args:
        log_utd: log(utd / utd_ref).
        share: w in (0, 1).
        sharpness: p > 0.

    Returns:
        Log ratio of env steps, 0 at the reference UTD.
    """
    xp, s, w, p = _arrays(log_utd, share, sharpness)
    return _array(xp.log(1.0 - w + w * xp.exp(-p * s)) / p)


def log_size_ratio(
    log_ratio: ArrayLike, log_size: ArrayLike, size_share: ArrayLike, gamma: ArrayLike
) -> Float[Any, "..."]:
    """Return log D / D_ref of the law D = D_min + (a / utd)^alpha + (b / N)^gamma in UTD and model size N.

        log((1 - q) r + q (N / N_ref)^-gamma),   r = exp(log_ratio)

    Law: Fu et al.

    Args:
        log_ratio: log r, the log ratio of the first two terms together; see `log_data_ratio`.
        log_size: log(N / N_ref), N in critic parameters.
        size_share: q in (0, 1), the share of the third term in the data at the reference.
        gamma: exponent, > 0.

    Returns:
        Log ratio of env steps, 0 at the reference UTD and model size.
    """
    xp, log_r, n, q, exponent = _arrays(log_ratio, log_size, size_share, gamma)
    return _array(xp.log((1.0 - q) * xp.exp(log_r) + q * xp.exp(-exponent * n)))


def log_batch_room(log_size: ArrayLike, room: ArrayLike, gamma: ArrayLike) -> Float[Any, "..."]:
    """Return log B*(N) / B*(N_ref) of the law B* ~ 1 / (1 + b N^-gamma): small critics overfit to large batches.

        log(1 + room) - log(1 + room (N / N_ref)^-gamma)

    Law: Fu et al.

    Args:
        log_size: log(N / N_ref), N in critic parameters.
        room: b N_ref^-gamma, > 0. The optimal batch size of an infinitely large critic is 1 + room times the
            reference's.
        gamma: exponent, > 0.

    Returns:
        Log ratio of optimal batch sizes, 0 at the reference model size.
    """
    xp, n, at_reference, exponent = _arrays(log_size, room, gamma)
    return _array(xp.log1p(at_reference) - xp.log1p(at_reference * xp.exp(-exponent * n)))


def log_optimum(location: ArrayLike, slope: ArrayLike, log_utd: ArrayLike) -> Float[Any, "..."]:
    """Return the log of the optimal batch size or learning rate: location - slope log(utd / utd_ref).

    Law: Rybkin et al.

    Args:
        location: log of the optimum at the reference UTD.
        slope: exponent by which the optimum falls with the UTD.
        log_utd: log(utd / utd_ref).
    """
    _, at_reference, exponent, s = _arrays(location, slope, log_utd)
    return _array(at_reference - exponent * s)


def penalty(
    distances: Sequence[ArrayLike], curvatures: Sequence[ArrayLike], correlations: Float[AnyArray, "axis axis"]
) -> Float[Any, "..."]:
    """Return the extra log env steps away from the optimum, z' K z / 2.

    K_ij = correlation_ij sqrt(K_ii K_jj), so that K is positive definite where the correlations are.

    Args:
        distances: z, the log distance from the optimum along each axis: log(B / B*), log(eta / eta*).
        curvatures: K_ii along each axis, >= 0; 0 removes the axis. A gradient in it needs > 0.
        correlations: correlation matrix of the axes.

    Returns:
        Log env steps, >= 0.
    """
    axes = range(len(distances))
    xp, matrix, *arrays = _arrays(correlations, *distances, *curvatures)
    scaled = [xp.sqrt(arrays[len(distances) + i]) * arrays[i] for i in axes]
    alone = 0.5 * sum(scaled[i] ** 2 for i in axes)
    return _array(alone + sum(matrix[i, j] * scaled[i] * scaled[j] for i in axes for j in axes if i < j))


def flops(model_size: ArrayLike, batch_size: ArrayLike, utd: ArrayLike, env_steps: ArrayLike) -> Float[Any, "..."]:
    """Return the training flops C = 10 N B utd D.

    Args:
        model_size: N, critic parameters.
        batch_size: B, samples per update.
        utd: gradient updates per env step.
        env_steps: D.
    """
    _, n, batch, sigma, steps = _arrays(model_size, batch_size, utd, env_steps)
    return _array(FLOPS_PER_PARAMETER_AND_SAMPLE * n * batch * sigma * steps)


def _arrays(*arguments: ArrayLike) -> tuple[Any, ...]:
    """Return `jax.numpy` and JAX arrays if any argument is a JAX array or tracer, else `numpy` and float64 arrays."""
    if any(isinstance(argument, jax.Array) for argument in arguments):
        return jnp, *(jnp.asarray(argument) for argument in arguments)
    return np, *(np.asarray(argument, float) for argument in arguments)


def _array(values: Any) -> Any:
    """Return a result as an array: NumPy turns arrays without axes into scalars."""
    return values if isinstance(values, jax.Array) else np.asarray(values)
