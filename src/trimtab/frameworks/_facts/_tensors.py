"""The dearer quantities of one parameter tensor around a step: weights, updates, extremes, g^2/v, equal units."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ._arrays import Array, Facts, as_floats, largest, norm, quietly

TWIN_TOLERANCE = 1e-6
CHUNK = 1 << 20
# Longer rows would need longer vectors than a reading should take.
MAX_LENGTH = 1 << 20
_IRRATIONAL = ((1 + math.sqrt(5)) / 2, math.sqrt(2))


@quietly
def before_step(weight: Any, grad: Any, unit_axis: int = -1) -> Facts:
    """Columns of a dense gradient and of the weight as the step begins; the units are on `unit_axis` of the weight
    (the last of a Keras or flax kernel, the first of PyTorch's)."""
    w, g = np.asarray(weight), _numbers(grad)
    size = norm(w)
    return {
        "grad_max": largest(g) if g.size else 0.0,
        "grad_nonfinite": g.size - int(np.isfinite(g).sum()),
        "grad_zeros": g.size - int(np.count_nonzero(g)),
        "weight_norm": size,
        "twin_units": twin_units(w, unit_axis, size),
    }


@quietly
def step_facts(before: Any, after: Any, grad: Any | None) -> Facts:
    """`update_norm` and `lost_updates` of what the step changed; the latter None without a dense gradient of the
    weight's shape, or where all of it is 0."""
    change = _numbers(before) - _numbers(after)
    return {"update_norm": norm(change), "lost_updates": _share_lost(change, grad)}


@quietly
def g2_over_v(grad: Any, v_hat: Any, eps: float = 1e-8) -> float | None:
    """sqrt(mean(g^2 / v_hat)), v_hat the bias-corrected second moment v / (1 - beta2^t) after the step.

    Source: Wortsman et al. 2023, arXiv:2304.13013, section 3.4 (RMS_t), with AdamW's epsilon squared as the floor of
    v_hat.
    """
    g, v = as_floats(grad), as_floats(v_hat)
    if g is None or v is None or g.shape != v.shape or not g.size:
        return None
    pairs = ((g.reshape(-1)[at : at + CHUNK], v.reshape(-1)[at : at + CHUNK]) for at in range(0, g.size, CHUNK))
    floor = eps * eps
    total = sum(float((a.astype(np.float64) ** 2 / np.maximum(b.astype(np.float64), floor)).sum()) for a, b in pairs)
    return math.sqrt(total / g.size)


@quietly
def twin_units(weight: Any, unit_axis: int = -1, size: float | None = None) -> float | None:
    """Share of the units whose weights equal those of another unit to TWIN_TOLERANCE of the root mean square; `size`
    is the weight's 2-norm. None for fewer than two axes.

    Two units are equal where their products with two fixed vectors are (frameworks/torch/_twins.py).
    """
    w = as_floats(weight)
    if w is None or w.ndim < 2 or not w.size:
        return None
    size = norm(w) if size is None else size
    units = int(w.shape[unit_axis])
    length = w.size // units
    if length > MAX_LENGTH or not math.isfinite(size):
        return None
    # Entries that differ at random by TWIN_TOLERANCE of the rms move a product by so much.
    allowed = TWIN_TOLERANCE * size / math.sqrt(units)
    first, second = _products(np.moveaxis(w, unit_axis, 0).reshape(units, length), length)
    order = np.argsort(first, kind="stable")
    alike = (np.abs(np.diff(first[order])) <= allowed) & (np.abs(np.diff(second[order])) <= allowed)
    twins = np.append(alike, False) | np.append(False, alike)
    return float(twins.sum()) / units


def _products(rows: Array, length: int) -> Array:
    """Every row's products with both vectors, shape (2, units)."""
    vectors = _vectors(length)
    step = max(1, CHUNK // length)
    parts = [rows[at : at + step].astype(np.float64) @ vectors for at in range(0, len(rows), step)]
    return np.concatenate(parts).T


@functools.lru_cache(maxsize=16)
def _vectors(length: int) -> Array:
    """Shape (length, 2), entries in [-1/2, 1/2)."""
    multiples = np.outer(np.arange(1, length + 1, dtype=np.float64), _IRRATIONAL)
    return multiples % 1.0 - 0.5


def _share_lost(change: Array, grad: Any | None) -> float | None:
    if grad is None or (g := np.asarray(grad)).shape != change.shape:
        return None
    with_gradient = int(np.count_nonzero(g))
    if not with_gradient:
        return None
    return int(np.count_nonzero((change == 0) & (g != 0))) / with_gradient


def _numbers(x: Any) -> Array:
    """In float32 or wider, complex numbers as they are."""
    array = np.asarray(x)
    floats = as_floats(array)
    return array if floats is None else floats
