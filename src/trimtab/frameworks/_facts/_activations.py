"""Size, spread, dead and saturated entries of what goes into a module and comes out of it.

A feature is a place on one axis, a row a place on all the others: with channels last, features of an image's
(N, H, W, C) are its C channels, and there are N·H·W rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import Array, Facts, as_floats, largest, max_of, quietly, rms, thin

SPREAD_SAMPLE = 1 << 18
SAMPLE = 65_536

# Of an activation's output y: is the slope there under a tenth of the steepest one?
_SATURATED: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda y: y * (1 - y) < 0.025,
    "tanh": lambda y: 1 - y * y < 0.1,
    "hardsigmoid": lambda y: (y <= 0) | (y >= 1),
    "hardtanh": lambda y: np.abs(y) >= 1,
    "relu6": lambda y: y >= 6,
}


@quietly
def input_facts(x: Any, axis: int = -1, after: str | None = None, *, unchanged: bool = False) -> Facts:
    """Columns `in_*` of a module's first input, features on `axis`; none where it holds no floats.

    `after` names the activation that it has passed since the weighted operation before ("none" for none, None where
    that can't be seen); `unchanged`: every entry is still an output of that activation.
    """
    floats = _measurable(x)
    if floats is None:
        return {}
    facts = {f"in_{name}": number for name, number in scale(floats, axis).items()}
    if after is not None:
        facts["in_after"] = after
    if unchanged and (saturated := _SATURATED.get(after or "")) is not None:
        facts["in_saturated"] = float(saturated(_sample(floats)).mean())
    return facts


@quietly
def output_facts(y: Any, axis: int = -1, activation: str | None = None) -> Facts:
    """`elements` and columns `out_*` of a module's output, features on `axis`; none where it holds no floats.

    `activation` names the one whose output this is: sigmoid, tanh, hardsigmoid, hardtanh and relu6 saturate.
    """
    floats = _measurable(y)
    if floats is None:
        return {}
    sample = _sample(floats)
    facts = {"elements": floats.size, "out_zeros": float((sample == 0).mean())}
    if (saturated := _SATURATED.get(activation or "")) is not None:
        facts["out_saturated"] = float(saturated(sample).mean())
    return facts | {f"out_{name}": number for name, number in scale(floats, axis).items()}


@quietly
def gradient_facts(g: Any) -> Facts:
    """`grad_rms` and `grad_max` of the loss's gradient by a module's output, a loss scaler's factor undone before."""
    floats = as_floats(g)
    return {} if floats is None or not floats.size else {"grad_rms": rms(floats), "grad_max": largest(floats)}


@quietly
def scale(x: Array, axis: int = -1) -> Facts:
    """`rms` and `max` of |x|; `spread` and `dead` of the features of `axis` where there are two rows or more."""
    axis %= x.ndim
    if x.size < 2 * x.shape[axis]:
        return {"rms": rms(x), "max": largest(x)}
    rows = tuple(d for d in range(x.ndim) if d != axis)
    low, high = x.min(rows), x.max(rows)
    return {
        "rms": rms(x),
        "max": max_of(high.max(), -low.min()),
        "spread": _spread(x, axis),
        "dead": float(((low == 0) & (high == 0)).mean()),
    }


def _measurable(x: Any) -> Array | None:
    floats = as_floats(x)
    return floats if floats is not None and floats.size and floats.ndim else None


def _spread(x: Array, axis: int) -> float:
    """Root mean square over features of the standard deviation across rows, exactly 0 where all rows are the same."""
    few = x[thin(x.shape, axis, SPREAD_SAMPLE)]
    rows = tuple(d for d in range(x.ndim) if d != axis)
    first = few[tuple(slice(None) if d == axis else slice(0, 1) for d in range(x.ndim))]
    off = few - first
    return rms(off - off.mean(rows, dtype=np.float64, keepdims=True).astype(off.dtype))


def _sample(x: Array) -> Array:
    """At most about SAMPLE entries, evenly spaced."""
    flat = x.reshape(-1)
    return flat[:: max(1, flat.size // SAMPLE)]
