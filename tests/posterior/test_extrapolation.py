"""Return levels beyond the fitted thresholds are extrapolated point by point, from the upper half of the thresholds."""

import numpy as np

from bayescale.posterior.extrapolation import at_thresholds
from bayescale.run_length_distribution import RunLengthDistribution


def test_each_point_has_its_ceiling_and_no_run_exceeds_a_ceiling_at_the_highest_threshold() -> None:
    rng = np.random.default_rng(0)
    location = np.linspace(9.0, 10.0, 5) + 0.02 * rng.standard_normal((50, 3, 5))
    shape = location.shape
    distribution = RunLengthDistribution(location, np.full(shape, 0.1), np.zeros(shape), np.full(shape, 0.99))
    fitted, wanted, best = np.arange(5.0), [2.0, 3.5, 4.0, 4.5, 6.0, 9.0], np.array([4.0, 5.0, np.inf])
    together = at_thresholds(distribution, fitted, wanted, best)
    for i in range(3):
        alone = at_thresholds(
            RunLengthDistribution(*(part[:, i : i + 1] for part in distribution)), fitted, wanted, best[i : i + 1]
        )
        np.testing.assert_array_equal(together.location[:, i], alone.location[:, 0])
        np.testing.assert_array_equal(together.p_reach[:, i], alone.p_reach[:, 0])
    reached = together.p_reach.max(axis=0) > 0
    assert reached.tolist() == [[True] * 3 + [False] * 3, [True] * 4 + [False] * 2, [True] * 6]


def test_the_upper_half_of_the_thresholds_determines_the_extrapolation() -> None:
    steps = np.log([10.0, 20.0, 40.0, 90.0, 230.0])
    none, fitted = np.zeros((3, 1, 5)), np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    def beyond(location: np.ndarray) -> np.ndarray:
        distribution = RunLengthDistribution(np.broadcast_to(location, none.shape), none + 0.2, none, none + 0.99)
        return at_thresholds(distribution, fitted, [5.5, 6.0]).location

    np.testing.assert_array_equal(beyond(steps - [0.5, 0.3, 0, 0, 0]), beyond(steps))
    assert (abs(beyond(steps - [0, 0, 0.3, 0, 0]) - beyond(steps)) > 1e-3).all()
