"""Packing keeps draws within the tolerance, and what a page reads is what Python unpacks."""

import base64
import gzip

import numpy as np
import pytest

from bayescale.reporting.live.packed_draws import Arrays, pack, unpack


def smooth_draws(draws=60, columns=300):
    rng = np.random.default_rng(1)
    x = np.linspace(-1, 1, columns)
    return 12 + rng.normal(size=(draws, 1)) + rng.normal(size=(draws, 1)) * x + 0.3 * rng.normal(size=(draws, 1)) * x**2


@pytest.mark.parametrize("tolerance", [0.1, 0.002])
def test_smooth_draws_need_few_components(tolerance):
    values = smooth_draws()
    packed = pack(values, tolerance=tolerance, most=50)
    assert packed.largest_error == abs(unpack(packed) - values).max() <= tolerance
    assert len(packed.components) <= 3  # the draws have three independent parts


def test_a_component_less_would_break_the_tolerance():
    values = smooth_draws()
    packed = pack(values, tolerance=0.002, most=50)
    assert pack(values, tolerance=0.002, most=len(packed.components) - 1).largest_error > 0.002


def test_the_mean_of_a_column_is_not_rounded_to_the_tolerance():
    values = smooth_draws()
    packed = pack(values, tolerance=0.1, most=50)
    np.testing.assert_allclose(unpack(packed).mean(axis=0), values.mean(axis=0), atol=2e-5)


def test_equal_draws_need_no_component():
    packed = pack(np.full((5, 4), 2.0), tolerance=0.01, most=3)
    assert packed.components.shape == (0, 4)
    np.testing.assert_allclose(unpack(packed), 2.0, atol=0.01)


def test_rough_draws_keep_at_most_the_allowed_components_and_say_their_error():
    values = np.random.default_rng(2).normal(size=(30, 40))
    packed = pack(values, tolerance=0.001, most=4)
    assert len(packed.components) == 4
    assert packed.largest_error == abs(unpack(packed) - values).max() > 0.1


def test_arrays_come_back_from_the_text_of_a_page():
    arrays = Arrays()
    given = [np.array([1, -3]), np.array([[300, 2], [-5, 0]]), np.array([70_000]), np.array([0.5, np.inf])]
    places = [arrays.add(each) for each in given]
    assert [place["type"] for place in places] == ["int8", "int16", "int32", "float32"]
    buffer = gzip.decompress(base64.b64decode(arrays.text()))
    for place, each in zip(places, given, strict=True):
        assert place["at"] % 8 == 0
        kind = np.dtype(place["type"]).newbyteorder("<")
        np.testing.assert_array_equal(np.frombuffer(buffer, kind, place["length"], place["at"]), each.ravel())
