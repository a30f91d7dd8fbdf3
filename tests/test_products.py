"""Stacked products beside plain ones in double precision, large and small, however the operands lie in memory."""

import itertools

import pytest
import torch
from torch import Tensor

from bayescale.runners import products
from bayescale.runners.products import LARGE, multiply
from tests.learner_twins import stream

torch.set_num_threads(1)
SMALL_SIDES, LARGE_SIDES = (24, 17, 33), (160, 161, 170)


def laid(values: Tensor, how: str) -> Tensor:
    """The same values: row by row, column by column, with gaps between rows, or with rows between networks."""
    networks, rows, columns = values.shape
    if how == "columns":
        return values.mT.contiguous().mT
    room = {"rows": (0, 0), "gaps": (0, 3), "apart": (1, 0)}[how]
    return torch.full((networks, rows + room[0], columns + room[1]), torch.nan)[:, :rows, :columns].copy_(values)


@pytest.mark.parametrize("sides", [SMALL_SIDES, LARGE_SIDES])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_products_equal_plain_ones_wherever_the_operands_lie(sides: tuple[int, ...], relu: bool, biased: bool) -> None:
    rows, inner, columns = sides
    a, b = torch.randn(3, rows, inner, generator=stream(1)), torch.randn(3, inner, columns, generator=stream(2))
    bias = torch.randn(3, 1, columns, generator=stream(3)) if biased else None
    expected = a.double() @ b.double() + (0.0 if bias is None else bias.double())
    expected = expected.relu() if relu else expected
    for of_a, of_b, of_out in itertools.product(("rows", "columns", "gaps", "apart"), repeat=3):
        out = laid(torch.full((3, rows, columns), torch.nan), of_out)
        scratch = None if of_out == "rows" else torch.empty(3, rows, columns)
        told = multiply(laid(a, of_a), laid(b, of_b), out, bias, relu, scratch)
        assert told is out
        torch.testing.assert_close(out.double(), expected, atol=1e-4, rtol=1e-5)
    assert not torch.allclose(a[[1, 0, 2]].double() @ b.double(), expected, atol=1e-1)  # must fail: networks exchanged


def test_large_products_are_of_one_network_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's product has the same bits alone and in a stack; small ones and doubles never come here."""
    if products._onednn is None:
        pytest.skip("torch has no oneDNN here")
    calls = []

    def counted(*arguments: object) -> Tensor:
        calls.append(arguments)
        return torch.ops.mkldnn._linear_pointwise(*arguments)

    monkeypatch.setattr(products, "_onednn", counted)
    rows, inner, columns = LARGE_SIDES
    assert rows * inner * columns >= LARGE > SMALL_SIDES[0] * SMALL_SIDES[1] * SMALL_SIDES[2]
    a, b = torch.randn(4, rows, inner, generator=stream(1)), torch.randn(4, inner, columns, generator=stream(2))
    together = multiply(a, b, torch.empty(4, rows, columns))
    assert len(calls) == 4
    for i in range(4):
        alone = multiply(a[i : i + 1], b[i : i + 1], torch.empty(1, rows, columns))
        assert torch.equal(alone[0], together[i])
    calls.clear()
    multiply(a.double(), b.double(), torch.empty(4, rows, columns, dtype=torch.float64))
    multiply(a[:, :8], b, torch.empty(4, 8, columns))
    assert not calls
