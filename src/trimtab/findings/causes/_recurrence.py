"""Causes that lie in a matrix that is applied at every step of time."""

from __future__ import annotations

import math
import re

import numpy as np

from ..._language import t
from .._evidence import clip_remedy, tensors
from .._history import Track
from .._over_time import Recurrence, over_time
from .._text import decades, number
from ._cause import STRONG, WEAK, Case, Clue
from ._jumps import jump_before
from ._readings import FEWEST, first_modules, recurrent, row_of

RECURRENT_WEIGHTS = re.compile(r"weight_hh|recurrent_kernel|(^|[/._])hh([/._]|$)")
STRETCHES = 3.0  # gain of a recurrent matrix; 0.58 to 1.4 as libraries and papers initialise it
STRETCHES_AT_ONCE = 1.5  # where the very first pass overflows
GROWTH = ("loss-spike", "diverging-loss", "non-finite", "exploding-gradient")


def unclipped(case: Case) -> Clue | None:
    """A recurrent net without a clip, whose gradient grows over time, or jumped after it had been calm."""
    name = recurrent(first_modules(case.track))
    if case.track.clipped or _before_any_step(case):
        return None
    again = over_time(case.track)
    if again is not None and again.grows:
        why = t("{growth}; the gradients are not clipped", growth=_growth(again))
        return Clue(why, STRONG, clip_remedy(case.track))
    if not name or case.trouble not in GROWTH:
        return None
    jump = jump_before(case)
    if jump is None or row_of(case) < FEWEST:
        why = t("{name} is recurrent, and its gradients are not clipped", name=name)
        return Clue(why, WEAK, clip_remedy(case.track))
    why = t(
        "{name} is recurrent, its gradients are not clipped, and at step {step} they were {times} times as long as "
        "before",
        name=name,
        step=int(case.track.step[jump.row]),
        times=number(jump.factor),
    )
    return Clue(why, STRONG, clip_remedy(case.track))


def too_large_over_time(case: Case) -> Clue | None:
    """Recurrent weights that stretch what they are applied to, at the first step."""
    again = over_time(case.track)
    if again is not None and again.grows:
        return Clue(_growth(again), STRONG, ("init=orthogonal",))
    gains = _recurrent_gains(case.track)
    name = max(gains, key=lambda name: gains[name], default="")
    if not name or not gains[name] > (STRETCHES_AT_ONCE if _before_any_step(case) else STRETCHES):
        return None
    why = t(
        "the recurrent weights {tensor} have a gain of {gain} at the first step, where 1 keeps the scale over time",
        tensor=name,
        gain=number(gains[name]),
    )
    return Clue(why, STRONG, ("init=orthogonal",))


def _before_any_step(case: Case) -> bool:
    """The first pass already gave no finite value: no step, however short, could have been at fault."""
    return case.trouble == "non-finite" and row_of(case) == 0


def _growth(again: Recurrence) -> str:
    return t(
        "{module} is called {calls} times, and on the way back each call multiplies the gradient by {pace}",
        module=again.module,
        calls=again.calls,
        pace=decades(again.decades_per_call),
    )


def _recurrent_gains(track: Track) -> dict[str, float]:
    """Root mean square of the singular values of each gate's recurrent matrix, by tensor; 1 where it is orthogonal.

    A matrix of (k n, n), or turned, holds k gates; known by a library's name, or by a layer that is called often.
    """
    called, norms = recurrent(first_modules(track)), _first_norms(track)
    found = {}
    for entry in tensors(track):
        name, shape = str(entry["name"]), [int(n) for n in entry["shape"]]
        own = name in (f"{called}.weight", f"{called}/kernel") or RECURRENT_WEIGHTS.search(name)
        if own and len(shape) == 2 and min(shape) > 1 and max(shape) % min(shape) == 0 and name in norms:
            found[name] = norms[name] / math.sqrt(max(shape))
    return found


def _first_norms(track: Track) -> dict[str, float]:
    """2-norm of every tensor at the first sampled step."""
    sampled = np.asarray(track.series.sampled_steps)
    rows = track.series.tensors(int(sampled[0])) if len(sampled) else {}
    norms = np.asarray(rows.get("weight_norm", ()), dtype=np.float64)
    return {str(name): float(norm) for name, norm in zip(rows.get("tensor", ()), norms, strict=False) if norm >= 0}
