"""Which gradients are far longer than those before them: the statistics of `skip=spike` and of the recoveries."""

from __future__ import annotations

from ._history import appended, count, median, nothing_yet, spread
from ._policy import Vitals, global_norm
from ._xp import Array, Namespace

# Of the log of the norm: else in a quiet stretch any step were a spike. Chosen with FEW: docs/policies.md.
LEAST_SPREAD = 0.3
# So many steps' worth of doubt: with k accepted steps the spread counts (1 + FEW / k) times.
FEW = 2.0
# log(0) is no value: a shorter norm counts as this.
SHORTEST = 1e-30


def log_norm(vitals: Vitals, xp: Namespace) -> Array:
    """Log of the global norm, before the script's own clip where it has one: behind it no spike stands out."""
    norm = global_norm(vitals, xp) if vitals.raw_norm is None else vitals.raw_norm
    return xp.log(xp.maximum(norm, SHORTEST))


def stands_out(history: Array, value: Array, threshold: float, xp: Namespace) -> Array:
    """bool, shape (): this log of a norm is a spike after those of `history`. Never, where that is empty."""
    middle, known = median(history, xp), count(history, xp)
    wide = xp.maximum(spread(history, middle, xp), LEAST_SPREAD) * (1.0 + FEW / xp.maximum(known, 1.0))
    return (known > 0.5) & (value - middle > threshold * wide)


def judged(
    history: Array, spikes: Array, value: Array, threshold: float, patience: int, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Whether a step is a spike, and `history` and `spikes` (how many there have been on end) after it.

    After `patience` of them the gradient has a new level: the history is begun anew, and the step is none.
    """
    is_spike = stands_out(history, value, threshold, xp)
    is_new_level = is_spike & (spikes > patience - 0.5)
    is_spike = is_spike & ~is_new_level
    past = xp.where(is_new_level, nothing_yet(history.shape[0], xp), history)
    history = xp.where(is_spike, history, appended(past, value, xp))
    return is_spike, history, xp.where(is_spike, spikes + 1.0, 0.0)
