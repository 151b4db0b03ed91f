"""What all facts need: floats that NumPy can reckon with, norms, and few of many entries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Facts = dict[str, Any]

# Between them the square of a norm keeps float32's digits.
_SAFE_SQUARES = (1e-28, 1e38)
_CHUNK = 1 << 20

quietly = np.errstate(all="ignore")
"""Nothing is said of the NaN and infinities that a training holds."""


def as_floats(x: Any) -> Array | None:
    """`x` in float32 or float64, without a copy where it is that already; None where it holds no floats."""
    array = np.asarray(x)
    if array.dtype in (np.float32, np.float64):
        return array
    narrow = array.dtype.kind == "f" or array.dtype.name.startswith(("bfloat", "float8"))
    return array.astype(np.float32) if narrow else None


@quietly
def norm(x: Array) -> float:
    """2-norm, right wherever it is a float64; NaN or infinite if and only if an entry is."""
    x = _real(x)
    if not x.size:
        return 0.0
    flat = x.reshape(-1)
    squares = float(np.dot(flat, flat))
    if _SAFE_SQUARES[0] < squares < _SAFE_SQUARES[1]:
        return math.sqrt(squares)
    size = largest(flat)
    if size == 0.0 or not math.isfinite(size):
        return size
    chunks = (flat[at : at + _CHUNK].astype(np.float64) / size for at in range(0, flat.size, _CHUNK))
    return size * math.sqrt(sum(float(np.dot(chunk, chunk)) for chunk in chunks))


def rms(x: Array) -> float:
    """Root mean square of one entry or more."""
    return norm(x) / math.sqrt(x.size)


def largest(x: Array) -> float:
    """Largest |entry|, NaN where one is."""
    if x.dtype.kind == "c":
        return float(np.abs(x).max())
    return max_of(x.max(), -x.min())


def max_of(high: Any, low: Any) -> float:
    return float(np.maximum(high, low))


def thin(shape: tuple[int, ...], axis: int, limit: int) -> tuple[slice, ...]:
    """Slices that leave at most about `limit` entries of an array of `shape`: all of `axis` (from 0), and of every
    other axis evenly spaced places."""
    slices = [slice(None)] * len(shape)
    others = sorted((d for d in range(len(shape)) if d != axis), key=lambda d: shape[d])
    excess = math.prod(shape) / limit
    for at, d in enumerate(others):
        if excess > 1:
            step = min(shape[d], math.ceil(excess ** (1 / (len(others) - at))))
            slices[d] = slice((shape[d] - 1) % step // 2, None, step)
            excess /= step
    return tuple(slices)


def _real(x: Array) -> Array:
    """The same numbers with the same 2-norm, real and in float32 or wider."""
    if x.dtype.kind == "c":
        return np.stack([x.real, x.imag])
    floats = as_floats(x)
    return x.astype(np.float64) if floats is None else floats
