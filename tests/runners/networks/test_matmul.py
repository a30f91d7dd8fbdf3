"""Stacked matrix products against plain ones in double precision, for several sizes and memory layouts."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from bayescale.runners import SACConfig
from bayescale.runners.algorithms.learner import Batch
from bayescale.runners.algorithms.sac import SAC
from bayescale.runners.networks import matmul as products
from bayescale.runners.networks.matmul import LARGE, SMALL, SMALL_RESULT, multiply, numpy_is_faster, pieces
from tests.scaffolding.learner_twins import stream

torch.set_num_threads(1)
SMALL_SIDES, CUT_SIDES, LARGE_SIDES = (24, 17, 33), (64, 257, 65), (160, 161, 170)


def laid(values: Tensor, how: str) -> Tensor:
    """Return the values stored row by row, column by column, with gaps between rows, or with gaps between networks."""
    networks, rows, columns = values.shape
    if how == "columns":
        return values.mT.contiguous().mT
    room = {"rows": (0, 0), "gaps": (0, 3), "apart": (1, 0)}[how]
    return torch.full((networks, rows + room[0], columns + room[1]), torch.nan)[:, :rows, :columns].copy_(values)


@pytest.mark.parametrize("by_numpy", [False, True])
@pytest.mark.parametrize("sides", [SMALL_SIDES, CUT_SIDES, LARGE_SIDES])
@pytest.mark.parametrize("relu", [False, True])
def test_products_equal_plain_ones_wherever_the_operands_lie(
    sides: tuple[int, ...], relu: bool, by_numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "BY_NUMPY", by_numpy)
    rows, inner, columns = sides
    a, b = torch.randn(3, rows, inner, generator=stream(1)), torch.randn(3, inner, columns, generator=stream(2))
    expected = a.double() @ b.double()
    expected = expected.relu() if relu else expected
    for of_a, of_b, of_out in itertools.product(("rows", "columns", "gaps", "apart"), repeat=3):
        out = laid(torch.full((3, rows, columns), torch.nan), of_out)
        scratch = None if of_out == "rows" else torch.empty(3, rows, columns)
        returned = multiply(laid(a, of_a), laid(b, of_b), out, relu=relu, scratch=scratch)
        assert returned is out
        torch.testing.assert_close(out.double(), expected, atol=1e-4, rtol=1e-5)
    assert not torch.allclose(
        a[[1, 0, 2]].double() @ b.double(), expected, atol=1e-1
    )  # networks exchanged: the comparison must fail


def test_large_products_are_of_one_network_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large product has the same bits alone and in a stack; small products and doubles do not go to oneDNN."""
    if products._onednn is None:
        pytest.skip("torch has no oneDNN here")
    calls = []

    def counted(*arguments: object) -> Tensor:
        calls.append(arguments)
        return torch.ops.mkldnn._linear_pointwise(*arguments)

    monkeypatch.setattr(products, "_onednn", counted)
    monkeypatch.setattr(products, "BY_NUMPY", False)
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


@pytest.mark.parametrize(
    ("name", "kernels", "faster"),
    [
        ("AMD EPYC 9575F 64-Core Processor", ["SkylakeX"], True),
        ("AMD64 Family 26 Model 2 Stepping 1, AuthenticAMD", ["None", "Cooperlake"], True),
        ("AMD EPYC 7763 64-Core Processor", ["Zen"], False),
        ("AMD Ryzen 9 9950X", ["None"], False),  # NumPy built with MKL
        ("Intel(R) Xeon(R) Platinum 8488C", ["SapphireRapids"], False),  # MKL uses AVX-512 there
        ("arm", [], False),
    ],
)
def test_numpy_multiplies_where_torch_leaves_avx512_unused(name: str, kernels: list[str], faster: bool) -> None:
    assert numpy_is_faster(name, kernels) is faster


@given(rows=st.integers(1, 300), inner=st.integers(1, 600), columns=st.integers(1, 600), transposed=st.booleans())
@example(rows=64, inner=65, columns=256, transposed=False)
@example(rows=64, inner=256, columns=65, transposed=True)
@example(rows=256, inner=257, columns=256, transposed=False)
def test_pieces_make_up_the_product_and_are_small_if_there_are_several(
    rows: int, inner: int, columns: int, transposed: bool
) -> None:
    covered, cut = np.zeros((rows, columns), int), pieces(rows, inner, columns, transposed)
    for piece in cut:
        covered[piece] += 1
        size = covered[piece].size
        assert size * inner <= 2 * SMALL, "halves of an odd number differ by one"
        assert not transposed or size <= 2 * SMALL_RESULT
    assert (covered == bool(cut)).all()
    assert len(cut) in (0, 2, 4, 8)[: 4 if transposed else 3]


def test_products_just_too_large_are_cut_and_others_are_not() -> None:
    assert [len(pieces(64, 65, columns, False)) for columns in (128, 256, 512, 1024)] == [0, 2, 4, 0]
    assert pieces(64, 65, 256, False)[1] == (slice(None), slice(128, 256))
    assert [len(pieces(width, 256, width + 1, True)) for width in (32, 64, 96, 128)] == [0, 4, 8, 0]
    assert pieces(64, 256, 65, True)[1] == (slice(16, 32), slice(None))
    assert not pieces(64, 16, 65, False)
    assert pieces(64, 16, 65, True)


def test_an_update_is_the_same_by_either_library_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SACConfig(
        env_id="-", utd=1, batch_size=32, learning_rate=1e-3, seed=0, env_steps=99, warmup_steps=32, hidden_width=16
    )
    batch = Batch(*(torch.randn(2, *shape, 32, generator=stream(1)) for shape in ((3,), (2,), (), (3,), ())))
    weights = []
    for by_numpy in (False, True):
        monkeypatch.setattr(products, "BY_NUMPY", by_numpy)
        agents = SAC([config, config], 3, 2, [stream(2), stream(3)])
        for _ in range(3):
            agents.update(batch, [stream(4), stream(5)])
        weights.append(agents.critics)
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(weights[0][1][0], weights[0][1][2])  # control: members differ
