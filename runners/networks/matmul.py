"""Matrix products of stacked networks, each in the way that is fastest for its size on this processor.

On AMD processors torch.bmm's library, MKL, leaves AVX-512 unused and takes twice as long. There NumPy's OpenBLAS does
the products, if it uses AVX-512 itself. Elsewhere small products go to torch as one batched call, because one call per
network would cost more. Large products go to oneDNN network by network, which uses AVX-512 where MKL does not. Without
oneDNN torch does all products in batched calls. The choice depends only on sizes, processor and libraries, so the same
machine repeats its results.

OpenBLAS has a kernel for small products; for larger ones it first copies both factors into blocks. A product slightly
too large for the small kernel is cut into pieces that fit it: at width 64 this saves a tenth of an update's time.
"""

import itertools
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import torch
from threadpoolctl import threadpool_info
from torch import Tensor

from bayescale.runners.accounting import processor

LARGE = 2**22  # multiplications per network, 128 x 128 x 256, from which oneDNN is no slower, even without AVX-512
SMALL = 10**6  # most multiplications in OpenBLAS's small kernel: sgemm_small_kernel_permit_skylakex.c
SMALL_RESULT = 1_200  # most entries of its result too, if the second factor lies transposed
MOST_CUTS = {False: 4, True: 8}  # most pieces that were faster than one product, by whether the second is transposed
AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's names of kernels that use AVX-512

_onednn: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # a b^T, then relu


def numpy_is_faster(name: str, kernels: Iterable[str]) -> bool:
    """Return whether NumPy multiplies faster than torch on this processor, with OpenBLAS using these kernels."""
    return "AMD" in name and not AVX512.isdisjoint(kernels)


BY_NUMPY = numpy_is_faster(processor(), [str(library.get("architecture")) for library in threadpool_info()])


def multiply(a: Tensor, b: Tensor, out: Tensor, *, relu: bool = False, scratch: Tensor | None = None) -> Tensor:
    """Write the product a b, clipped at 0 if `relu`, into `out` and return it.

    Args:
        a: first factors, (network, row, inner).
        b: second factors, (network, inner, column).
        out: room for the products, (network, row, column); it must not overlap the factors.
        relu: whether negative entries become 0.
        scratch: a contiguous tensor of the shape of `out`; pass it where the networks of `out` lie apart, because
            torch.bmm does one product at a time into such an `out`.
    """
    if BY_NUMPY and not a.is_cuda:
        with np.errstate(over="ignore", invalid="ignore"):  # a diverging member is found by its losses
            x, y, into = a.numpy(), b.numpy(), out.numpy()
            cut = pieces(a.shape[1], a.shape[2], b.shape[2], b.stride(2) != 1)
            if not cut:
                np.matmul(x, y, out=into)
            for rows, columns in cut:
                np.matmul(x[:, rows], y[:, :, columns], out=into[:, rows, columns])
        return out.clamp_min_(0.0) if relu else out
    if a.is_cuda or _onednn is None or a.dtype != torch.float32 or a.shape[1] * a.shape[2] * b.shape[2] < LARGE:
        block = out if scratch is None else scratch
        torch.bmm(a, b, out=block)
        if relu:
            return torch.clamp_min(block, 0.0, out=out)
        return out if block is out else out.copy_(block)
    if not (b if b.stride(-1) == 1 else b.mT)[0].is_contiguous():  # oneDNN is a thousand times slower with row gaps
        b = b.contiguous()
    for i, into in enumerate(out):
        into.copy_(_onednn(a[i], b[i].mT, None, "relu" if relu else "none", [], ""))
    return out


@cache
def pieces(rows: int, inner: int, columns: int, transposed: bool) -> list[tuple[slice, slice]]:
    """Return rows and columns of the pieces in which OpenBLAS is fastest; empty if one whole product is.

    Args:
        rows: rows of the first factor.
        inner: columns of the first factor and rows of the second.
        columns: columns of the second factor.
        transposed: whether the second factor lies in memory column by column.
    """
    size, cuts = rows if transposed else columns, 1
    while cuts < size and not _small(rows, inner, columns, cuts, transposed):
        cuts *= 2
    if not 1 < cuts <= MOST_CUTS[transposed]:
        return []
    ends = [size * i // cuts for i in range(cuts + 1)]
    parts = [slice(start, end) for start, end in itertools.pairwise(ends)]
    return [(part, slice(None)) if transposed else (slice(None), part) for part in parts]


def _small(rows: int, inner: int, columns: int, cuts: int, transposed: bool) -> bool:
    return rows * inner * columns <= SMALL * cuts and not (transposed and rows * columns > SMALL_RESULT * cuts)
