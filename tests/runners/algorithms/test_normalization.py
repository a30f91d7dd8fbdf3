"""Running means and spreads of observations against those of all at once."""

import torch

from bayescale.runners.algorithms.normalization import SMALLEST_VARIANCE, Normalizer
from tests.scaffolding.learner_twins import stream

torch.set_num_threads(1)


def test_observations_are_scaled_by_all_that_were_acted_on() -> None:
    normalizer, seen = Normalizer(2, 3), []
    fresh = torch.randn(2, 3, 7, generator=stream(1))
    torch.testing.assert_close(normalizer(fresh), fresh)
    for i in range(4):
        seen.append(100 + (i + 1) * torch.randn(2, 5 + i, 3, generator=stream(i)))
        normalizer.see(seen[-1])
    seen_at_once = torch.cat(seen, 1).double()
    mean, variance = seen_at_once.mean(1), seen_at_once.var(1, correction=0) + SMALLEST_VARIANCE
    torch.testing.assert_close(normalizer.mean, mean.float())
    torch.testing.assert_close(normalizer.std, variance.sqrt().float())
    expected = (fresh - mean.float()[..., None]) / variance.sqrt().float()[..., None]
    torch.testing.assert_close(normalizer(fresh), expected)
