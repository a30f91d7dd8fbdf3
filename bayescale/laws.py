"""The scaling laws as pure functions of logs: data, optimal hyperparameters, their penalty, compute.

Sources: Rybkin et al., "Value-Based Deep RL Scales Predictably" (ICML 2025), the laws of data, compute, batch size
and learning rate; Fu et al., "Compute-Optimal Scaling for Value-Based Deep RL" (NeurIPS 2025).
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

FLOPS_PER_PARAMETER_AND_SAMPLE = 10.0  # 2 target forward, 2 critic forward, 4 backward, 2 in the actor update


def log_data_ratio(log_utd: ArrayLike, min_share: ArrayLike, alpha: ArrayLike) -> Float[Array, "..."]:
    """log D(utd)/D(utd_ref) of the law D = D_min + (beta/utd)^alpha, written at a reference UTD.

    With w = D_min / D(utd_ref):  log(w + (1 - w) (utd/utd_ref)^-alpha).  This form keeps the two parameters nearly
    independent where D_min and beta are collinear.

    Args:
        log_utd: log(utd / utd_ref).
        min_share: w in (0, 1), the share of the data at the reference UTD that no more updates can save.
        alpha: the exponent, > 0.
    """
    share = jnp.asarray(min_share)
    return jnp.log(share + (1.0 - share) * jnp.exp(-jnp.asarray(alpha) * log_utd))


def log_size_ratio(
    log_ratio: ArrayLike, log_size: ArrayLike, size_share: ArrayLike, gamma: ArrayLike
) -> Float[Array, "..."]:
    """log of D over that at the reference, of the law D = D_min + (a/utd)^alpha + (b/N)^gamma in UTD and model size.

    Args:
        log_ratio: that of the first two terms together, `log_data_ratio`.
        log_size: log(N / N_ref), N the critic parameters.
        size_share: the share of the third term in the data at the reference, in (0, 1).
        gamma: the exponent, > 0.
    """
    share = jnp.asarray(size_share)
    ratio = (1.0 - share) * jnp.exp(jnp.asarray(log_ratio)) + share * jnp.exp(-jnp.asarray(gamma) * log_size)
    return jnp.log(ratio)


def log_batch_room(log_size: ArrayLike, room: ArrayLike, gamma: ArrayLike) -> Float[Array, "..."]:
    """log B*(N)/B*(N_ref) of the law B* ~ 1 / (1 + b N^-gamma): small critics overfit to large batches.

    Args:
        log_size: log(N / N_ref).
        room: b N_ref^-gamma, > 0: an endless critic bears batches 1 + room times those of the reference.
        gamma: the exponent, > 0.
    """
    shortfall = jnp.asarray(room)
    return jnp.log1p(shortfall) - jnp.log1p(shortfall * jnp.exp(-jnp.asarray(gamma) * jnp.asarray(log_size)))


def log_optimum(location: ArrayLike, slope: ArrayLike, log_utd: ArrayLike) -> Float[Array, "..."]:
    """log of the optimal batch size or learning rate, location - slope * log(utd / utd_ref)."""
    return jnp.asarray(location) - jnp.asarray(slope) * jnp.asarray(log_utd)


def penalty(
    z_batch: ArrayLike, z_rate: ArrayLike, curvature_batch: ArrayLike, curvature_rate: ArrayLike, interaction: ArrayLike
) -> Float[Array, "..."]:
    """Extra log env steps away from the optimum, z' K z / 2 with z the log distances from it.

    K has the two curvatures (> 0) on its diagonal and interaction * sqrt(their product) off it, |interaction| < 1,
    so that it is positive definite. A curvature of 0 takes its axis out.
    """
    b, r = jnp.asarray(z_batch), jnp.asarray(z_rate)
    product = jnp.asarray(curvature_batch) * jnp.asarray(curvature_rate)
    safe = jnp.where(product > 0, product, 1.0)  # the slope of the root at 0 is infinite and would make gradients NaN
    cross = jnp.asarray(interaction) * jnp.where(product > 0, jnp.sqrt(safe), 0.0)
    return 0.5 * (jnp.asarray(curvature_batch) * b**2 + 2.0 * cross * b * r + jnp.asarray(curvature_rate) * r**2)


def flops(model_size: ArrayLike, batch_size: ArrayLike, utd: ArrayLike, env_steps: ArrayLike) -> Float[Array, "..."]:
    """Training flops C = 10 N B utd D for N critic parameters, B samples per update, D env steps."""
    per_step = FLOPS_PER_PARAMETER_AND_SAMPLE * jnp.asarray(model_size) * jnp.asarray(batch_size) * jnp.asarray(utd)
    total: Array = per_step * jnp.asarray(env_steps)
    return total
