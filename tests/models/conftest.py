"""Run the tests of models in float64: they differentiate and vectorise the models' functions themselves."""

import pytest


@pytest.fixture(autouse=True)
def _jax_in_float64(jax_float64: None) -> None:
    """Run each test in float64."""
