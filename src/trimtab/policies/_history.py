"""A memory of the last accepted values, as a value of fixed shape: an infinity marks an empty place."""

from __future__ import annotations

import math

from ._xp import Array, Namespace


def nothing_yet(window: int, xp: Namespace) -> Array:
    """Shape (window,), empty."""
    return xp.full(window, math.inf)


def appended(history: Array, value: Array, xp: Namespace) -> Array:
    """With `value`, shape (), as the latest; the oldest goes."""
    return xp.concat([history[1:], value[None]])


def count(history: Array, xp: Namespace) -> Array:
    """How many places are taken, shape ()."""
    taken = xp.isfinite(history)
    return xp.sum(xp.where(taken, xp.like(taken, history), 0.0))


def quantile(history: Array, q: float, xp: Namespace) -> Array:
    """Of the values there, interpolated linearly as by `numpy.quantile`; 0 if there are none.

    A sum over all places, each weighted by its nearness to the place wanted: nothing is looked up by an index that
    only the device knows.
    """
    ordered = xp.sort(history)  # empty places come last
    place = q * xp.maximum(count(history, xp) - 1.0, 0.0)
    weight = xp.maximum(1.0 - xp.abs(xp.arange(history.shape[0]) - place), 0.0)
    near = (weight > 0.0) & xp.isfinite(ordered)
    return xp.sum(xp.where(near, ordered * weight, 0.0))


def median(history: Array, xp: Namespace) -> Array:
    """Of the values there; 0 if there are none."""
    return quantile(history, 0.5, xp)


def spread(history: Array, middle: Array, xp: Namespace) -> Array:
    """1.4826 * median(|x - middle|): of normal values the standard deviation. 0 if there are none."""
    return 1.4826 * median(xp.abs(history - middle), xp)
