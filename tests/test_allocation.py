import pytest

from bayescale.allocation import allocate, allocations
from bayescale.errors import InputError
from bayescale.utility import Prices
from tests.prior_posterior import TASKS, THRESHOLDS, prior_posterior


@pytest.fixture(scope="module")
def posterior():
    return prior_posterior()


def test_choices_for_several_thresholds_are_those_of_each_alone(posterior):
    prices = Prices(flop=2.0, env_step=3e9)
    together = allocations(posterior, TASKS[0], THRESHOLDS, prices, model_size=1000)
    assert together == {
        J: allocate(posterior, TASKS[0], threshold=J, prices=prices, model_size=1000) for J in THRESHOLDS
    }
    assert together != allocations(posterior, TASKS[0], THRESHOLDS, prices, model_size=10**7)


def test_a_threshold_that_was_not_fitted_is_refused_among_several_too(posterior):
    with pytest.raises(InputError, match=r"threshold 500 was not fitted; choose one of 321, 654"):
        allocations(posterior, TASKS[0], (321.0, 500.0))
