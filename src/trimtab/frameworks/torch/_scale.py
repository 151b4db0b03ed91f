"""Size, spread and dead features of an activation, without a copy of the whole.

A feature is a place on one axis, a row a place on all the others: features of a convolution's (N, C, H, W) are its C
channels, and there are N·H·W rows.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import GroupNorm, Module
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

SPREAD_SAMPLE = 1 << 18


def measure(x: Tensor, axis: int) -> dict[str, Tensor]:
    """`rms` and `max` of |x|; `spread` and `dead` of the features of `axis` where there are two rows or more."""
    rows = [d for d in range(x.dim()) if d != axis]
    size = math.sqrt(x.numel())
    if x.numel() < 2 * x.shape[axis]:
        return {"rms": _norm(x) / size, "max": largest(x)}
    low, high = x.amin(rows), x.amax(rows)
    return {
        "rms": _norm(x) / size,
        "max": torch.maximum(high, -low).amax(),
        "spread": _spread(x, axis),
        "dead": ((low == 0) & (high == 0)).float().mean(),
    }


def rms(x: Tensor) -> Tensor:
    return _norm(x) / math.sqrt(x.numel())


def largest(x: Tensor) -> Tensor:
    """Largest |entry|, NaN where one is."""
    if x.is_complex():
        modulus: Tensor = torch.linalg.vector_norm(x, math.inf)
        return modulus
    low, high = x.aminmax()
    return torch.maximum(high, -low)


def thin(shape: torch.Size, axis: int, limit: int) -> tuple[slice, ...]:
    """Slices that leave at most about `limit` entries of a tensor of `shape`: all of `axis`, and of every other axis
    evenly spaced places."""
    slices = [slice(None)] * len(shape)
    others = sorted((d for d in range(len(shape)) if d != axis), key=lambda d: shape[d])
    excess = math.prod(shape) / limit
    for at, d in enumerate(others):
        if excess > 1:
            step = min(shape[d], math.ceil(excess ** (1 / (len(others) - at))))
            slices[d] = slice((shape[d] - 1) % step // 2, None, step)
            excess /= step
    return tuple(slices)


def _spread(x: Tensor, axis: int) -> Tensor:
    """Root mean square over features of the standard deviation across rows, exactly 0 where all rows are the same."""
    few = x[thin(x.shape, axis, SPREAD_SAMPLE)].float()
    rows = [d for d in range(x.dim()) if d != axis]
    first = few[tuple(slice(None) if d == axis else slice(0, 1) for d in range(x.dim()))]
    off = few - first
    off -= off.mean(rows, keepdim=True)
    return rms(off)


def _norm(x: Tensor) -> Tensor:
    dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else None
    norm: Tensor = torch.linalg.vector_norm(x, dtype=dtype)
    return norm


def input_axis(module: Module, x: Tensor) -> int:
    """The axis of the features of a module's input."""
    if isinstance(module, _ConvNd):
        return max(0, x.dim() - 1 - len(module.kernel_size))
    return x.dim() - 1


def output_axis(module: Module, y: Tensor, before: int | None) -> int:
    """The axis of the features of a module's output; `before` is that of the output before, where that is its input."""
    if isinstance(module, _ConvNd):
        return input_axis(module, y)
    if y.dim() > 1 and (isinstance(module, (_NormBase, GroupNorm)) or _is_pooling(module)):
        return 1
    if before is not None:
        return before
    return 1 if y.dim() > 3 and not any(p is not None for p in module._parameters.values()) else y.dim() - 1


def _is_pooling(module: Any) -> bool:
    return bool(type(module).__module__ == "torch.nn.modules.pooling")
