"""Linear layers for many small products with the same weights."""

import platform
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

Linear = Callable[[Tensor], Tensor]
"""(B, in) -> (B, out)."""


def packs(weight: Tensor) -> bool:
    """Whether `linear` keeps a packed copy of the weights, instead of the weights themselves."""
    if weight.device.type != "cpu" or platform.machine() not in {"x86_64", "AMD64"} or not torch.backends.mkldnn.is_available():
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")):
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def linear(weight: Tensor, bias: Tensor | None = None) -> Linear:
    """`F.linear` with (out, in) `weight`; on a CPU by oneDNN, in the blocked order that its kernels read.

    `F.linear` brings the weights into such an order anew in each call, which for a batch of 16 rows is more than half of the work.
    torch has no public name for it; these are the operators that its compiler calls.
    """
    weight = weight.detach()
    bias = None if bias is None else bias.detach()
    if not packs(weight):
        return partial(F.linear, weight=weight, bias=bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight)
    return partial(_packed_linear, weight=packed, bias=bias)


def _packed_linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    output: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return output
