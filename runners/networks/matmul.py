"""Matrix products of stacked networks, each in the way that is fastest for its size and on this processor.

torch.bmm's library, MKL, leaves AVX-512 unused on AMD's processors, and takes twice as long. There NumPy's OpenBLAS
multiplies, if it uses AVX-512 itself. Elsewhere small products are one batched call of torch, which a call for each
would cost more than, and large ones go to oneDNN network by network, which has AVX-512 where MKL has not. Where torch
has no oneDNN all are batched. The way is a function of the sizes, the processor and the libraries, so that a machine
repeats itself.

OpenBLAS copies the factors of a product into blocks first, and has a kernel for small products that does not. What is
just too large for that kernel is cut into pieces for it: a member of width 64 gains a tenth of its update's time.
"""

import itertools
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
import torch
from threadpoolctl import threadpool_info
from torch import Tensor

from bayescale.runners.accounting import processor

LARGE = 2**22  # multiplications of one network, 128 x 128 x 256; from there on it is no slower without AVX-512 either
SMALL = 10**6  # multiplications that OpenBLAS does without copies: sgemm_small_kernel_permit_skylakex.c
SMALL_RESULT = 1_200  # entries besides, if the second factor lies transposed
MOST_CUTS = {False: 4, True: 8}  # beyond so many, by whether it does, the pieces were no faster
AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # OpenBLAS's kernels that use it

_onednn: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # a b^T + bias, then relu


def numpy_is_faster(name: str, kernels: Iterable[str]) -> bool:
    """Whether NumPy multiplies faster than torch: on a processor of this name, by OpenBLAS with these kernels."""
    return "AMD" in name and not AVX512.isdisjoint(kernels)


BY_NUMPY = numpy_is_faster(processor(), [str(library.get("architecture")) for library in threadpool_info()])


def multiply(
    a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None, relu: bool = False, scratch: Tensor | None = None
) -> Tensor:
    """Writes a b, plus the bias, cut at 0 if `relu`, into `out`, which it returns.

    Args:
        a: (network, row, inner).
        b: (network, inner, column).
        out: (network, row, column), none of the others.
        bias: (network, 1, column).
        relu: whether what is negative becomes 0.
        scratch: room for as much as `out` in one block, to be given where the networks of `out` lie apart: into such
            ones torch.bmm does one product at a time.
    """
    if BY_NUMPY and not a.is_cuda:
        with np.errstate(over="ignore", invalid="ignore"):  # a member may diverge: that is seen in its losses
            x, y, into = a.numpy(), b.numpy(), out.numpy()
            cut = pieces(a.shape[1], a.shape[2], b.shape[2], b.stride(2) != 1)
            if not cut:
                np.matmul(x, y, out=into)
            for rows, columns in cut:
                np.matmul(x[:, rows], y[:, :, columns], out=into[:, rows, columns])
        if bias is not None:
            out += bias
        return out.clamp_min_(0.0) if relu else out
    if a.is_cuda or _onednn is None or a.dtype != torch.float32 or a.shape[1] * a.shape[2] * b.shape[2] < LARGE:
        block = out if scratch is None else scratch
        if bias is None:
            torch.bmm(a, b, out=block)
        else:
            torch.baddbmm(bias, a, b, out=block)
        if relu:
            return torch.clamp_min(block, 0.0, out=out)
        return out if block is out else out.copy_(block)
    then = "relu" if relu else "none"
    if not (b if b.stride(-1) == 1 else b.mT)[0].is_contiguous():  # with gaps between its rows, a thousand times slower
        b = b.contiguous()
    for i, into in enumerate(out):
        into.copy_(_onednn(a[i], b[i].mT, None if bias is None else bias[i, 0], then, [], ""))
    return out


@cache
def pieces(rows: int, inner: int, columns: int, transposed: bool) -> list[tuple[slice, slice]]:
    """Rows and columns of the pieces in which OpenBLAS does a product fastest; none if that is as a whole.

    Args:
        rows: of the first factor.
        inner: its columns, and rows of the second.
        columns: of the second.
        transposed: whether the second lies column by column.
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
