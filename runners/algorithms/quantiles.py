"""Quantile regression of returns (Dabney et al., 2018): the gradient of the quantile Huber loss, by hand."""

import torch
from torch import Tensor

CHUNK = 2**20  # floats of pairwise differences at once: they and their clipped copy stay in the cache


def midpoints(count: int) -> Tensor:
    """Return the quantile levels tau_i = (i + 1/2)/count of the predicted quantiles, (count,)."""
    return (torch.arange(count) + 0.5) / count


def huber_gradients(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of each critic's quantile Huber loss with kappa = 1 by its quantiles, shaped as `quantiles`.

    The loss of a critic is mean_b mean_j sum_i |tau_i - 1{u < 0}| H(u), u = y_j - q_i, where H(u) is u^2/2 up to
    |u| = 1 and |u| - 1/2 beyond. Its gradient by q_i is the mean over b and j of
    -tau_i clip(u, 0, 1) - (1 - tau_i) clip(u, -1, 0), where the mean over b contributes a factor 1/batch per sample.

    Args:
        quantiles: q of two critics, (member, 2, quantile, batch).
        targets: y, which both critics share, (member, quantile, batch), in any order.
    """
    by_sample, targets_by_sample = quantiles.mT.contiguous(), targets.mT.contiguous()  # pairs of one sample lie close
    members, critics, samples, count = by_sample.shape
    above, below = torch.empty_like(by_sample), torch.empty_like(by_sample)
    at_once = min(max(1, CHUNK // (critics * count**2)), samples)
    differences = quantiles.new_empty(critics, at_once, count, count)
    clipped = torch.empty_like(differences)
    for member in range(members):
        for start in range(0, samples, at_once):
            chunk = slice(start, min(start + at_once, samples))
            u, part = differences[:, : chunk.stop - start], clipped[:, : chunk.stop - start]
            torch.sub(targets_by_sample[member, chunk, None], by_sample[member, :, chunk, :, None], out=u)
            torch.sum(torch.clamp(u, 0.0, 1.0, out=part), -1, out=above[member, :, chunk])
            torch.sum(u.clamp_(-1.0, 0.0), -1, out=below[member, :, chunk])
    gradients = above.sub_(below).mul_(midpoints(count)).add_(below).mul_(-1.0 / (samples * count))
    return gradients.mT.contiguous()
