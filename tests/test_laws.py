"""Check the law of UTD at its limits, against finite differences and against the published law."""

import numpy as np
import pytest

from bayescale.laws import log_crossover_ratio, log_data_ratio


@pytest.mark.parametrize("sharpness", [0.3, 0.74, 1.0, 2.0])
def test_few_updates_limit_the_data_and_many_leave_the_least_data(sharpness: float) -> None:
    share, step = 0.4, 1e-4
    rare = log_crossover_ratio(np.array([-100.0, -101.0]), share, sharpness)
    assert np.diff(rare)[0] == pytest.approx(1.0, rel=1e-9)  # half the updates need twice the data
    assert float(log_crossover_ratio(200.0, share, sharpness)) == pytest.approx(np.log(1 - share) / sharpness)
    near = log_crossover_ratio(np.array([-step, 0.0, step]), share, sharpness)
    assert near[1] == 0.0
    assert (near[0] - near[2]) / (2 * step) == pytest.approx(share, rel=1e-6)  # the share is the slope there
    swept = log_crossover_ratio(np.linspace(-5, 5, 101), share, sharpness)
    assert (np.diff(swept) < 0).all()


def test_a_sharpness_of_one_is_the_published_law_with_exponent_one() -> None:
    s = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(log_crossover_ratio(s, 0.3, 1.0), log_data_ratio(s, 0.7, 1.0), rtol=1e-12)
    assert abs(log_crossover_ratio(s, 0.3, 0.6) - log_data_ratio(s, 0.7, 0.6)).max() > 0.1  # the control: other laws
