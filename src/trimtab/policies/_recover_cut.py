"""recover=cut: short steps for a while after a gradient that stands out."""

from __future__ import annotations

import math
from typing import NamedTuple

from ._history import nothing_yet
from ._policy import Decision, Policy, Recovery, State, Vitals
from ._settings import fraction, positive, text_of, whole
from ._spikes import judged, log_norm
from ._xp import NUMPY, Array, Namespace

WINDOW, PATIENCE = 50, 3


class _Memory(NamedTuple):
    """`since`: steps since the last trouble; at least twice `steps` where there was none."""

    history: Array
    spikes: Array
    since: int


def recover_cut(factor: float = 0.1, steps: int = 100, threshold: float = 6.0) -> Policy:
    """Cut the learning rate where a gradient stands out or is not finite, and let it return gradually.

    With c, the steps since the last such step, for which c = 0:

        lr <- lr * factor                                          c < steps
        lr <- lr * (factor + (1 - factor) * (c - steps) / steps)   steps <= c < 2 steps

    then lr as it is. A step stands out if `skip=spike` would leave it out, with this threshold, a window of 50 and a
    patience of 3. Put behind `skip=spike` it acts on what follows; alone it makes the spike's own step short too.
    The script's schedule sees its own numbers: the factor is there during the step only.

    Source: the variable learning rate of Vogl et al. 1988, Biological Cybernetics 59, pages 257-263, which falls by a
    factor where the error has grown by some percent.
    Departures: what is judged is the gradient, since the loss of a batch tells less; the cut ends by itself, since the
    schedule is the script's. A gradient that is not finite is left out.
    Defaults: factor and steps were set by hand. On the norms of 988 healthy trainings
    (studies/calibration) it cuts in 6.
    """
    fraction("factor", factor)
    steps = whole("steps", steps, 1)
    positive("threshold", threshold)

    def start(tensors: int, xp: Namespace) -> State:
        return _Memory(nothing_yet(WINDOW, NUMPY), NUMPY.full(1, 0.0)[0], 2 * steps)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        memory = _Memory(*state)
        with xp.quiet():
            value = float(log_norm(vitals, xp))
        finite = bool(vitals.all_finite) and math.isfinite(value)
        history, spikes, trouble = memory.history, memory.spikes, True
        if finite:
            with NUMPY.quiet():
                found, history, spikes = judged(history, spikes, NUMPY.full(1, value)[0], threshold, PATIENCE, NUMPY)
            trouble = bool(found)
        since = 0 if trouble else memory.since
        later = min(since + 1, 2 * steps)
        scale = _scale(since, factor, steps)
        return _Memory(history, spikes, later), Decision(not finite, recovery=Recovery(lr_scale=scale))

    def returned(now: State, then: State) -> State:
        return _Memory(*then)._replace(since=_Memory(*now).since)

    needs = frozenset({"norms"})
    text = text_of("recover=cut", factor, steps=(steps, 100), threshold=(threshold, 6.0))
    return Policy(text, decide, start, needs=needs, compares=True, on_host=True, returned=returned)


def _scale(since: int, factor: float, steps: int) -> float:
    """Exactly 1 from 2 * `steps` on."""
    if since >= 2 * steps:
        return 1.0
    return factor + (1.0 - factor) * max(0, since - steps) / steps
