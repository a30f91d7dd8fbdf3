"""Prices and risk measures against numbers worked by hand, and negated."""

import numpy as np
import pytest

from bayescale import InputError, Prices
from bayescale.utility import parse_risk

COST = np.arange(1.0, 11.0)[:, None] * np.array([1.0, 10.0])  # draws 1 to 10 of two settings


def test_risk_reads_the_upper_tail_of_cost() -> None:
    assert parse_risk("mean")(COST) == pytest.approx([5.5, 55.0])
    assert parse_risk("cvar:0.8")(COST) == pytest.approx([9.5, 95.0])
    assert parse_risk("prob:0.9")(COST) == pytest.approx([10.0, 100.0])
    assert parse_risk("cvar:0.8")(-COST) == pytest.approx([-1.5, -15.0])


def test_cost_adds_compute_and_data() -> None:
    assert Prices(flop=2.0, env_step=3.0).cost(np.array([5.0]), np.array([7.0])) == pytest.approx([31.0])


@pytest.mark.parametrize("text", ["median", "cvar", "cvar:1.5", "prob:x"])
def test_a_bad_risk_names_the_choices(text: str) -> None:
    with pytest.raises(InputError, match="risk must be mean, cvar:LEVEL or prob:LEVEL"):
        parse_risk(text)


def test_bad_prices_are_refused() -> None:
    with pytest.raises(InputError, match="prices must be finite"):
        Prices(flop=-1.0)
