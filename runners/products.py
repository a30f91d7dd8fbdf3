"""Matrix products of stacked networks, each in the way that is fastest for its size.

Small products are one batched call, which a call for each would cost more than. Large ones go to oneDNN network by
network: on AMD's processors the library behind torch.bmm leaves AVX-512 unused, and takes twice as long. Where torch
has no oneDNN all are batched. The way is a function of the sizes and of torch alone, so that a machine repeats itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor

LARGE = 2**22  # multiplications of one network, 128 x 128 x 256; from there on it is no slower without AVX-512 either

_onednn: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)  # a b^T + bias, then relu


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
    if _onednn is None or a.dtype != torch.float32 or a.shape[1] * a.shape[2] * b.shape[2] < LARGE:
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
