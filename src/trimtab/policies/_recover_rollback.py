"""recover=rollback: where the weights are at fault, back to those of before."""

from __future__ import annotations

import math
from typing import NamedTuple

from ._history import appended, nothing_yet
from ._policy import Decision, Policy, Recovery, State, Vitals
from ._settings import positive, text_of, whole
from ._spikes import log_norm, stands_out
from ._xp import NUMPY, Array, Namespace

WINDOW = 50


class _Memory(NamedTuple):
    """`since`: good steps since the last copy, `bad`: bad ones on end, `resting`: steps still to be left out."""

    history: Array
    since: int
    bad: int = 0
    resting: int = 0
    returns: int = 0


def recover_rollback(
    every: int = 100, skip: int = 20, patience: int = 10, limit: int = 5, threshold: float = 6.0
) -> Policy:
    """Go back to earlier weights and optimizer state where step after step shows that the weights are at fault.

    A step is bad if its gradient is not finite, or if

        z = (log n - median h) / (max(0.3, 1.4826 median|h - median h|) * (1 + 2 / k)) > threshold

    as in `skip=spike`: n is the global norm, before the script's own clip where it has one, h the logs of the last 50
    norms that were not bad, k of them. One bad step is a bad batch; `patience` on end are the weights. So is a
    weight that is not finite, at once: all are looked at when a gradient is not finite, and before each copy.

    Weights and optimizer state are copied every `every` good steps, and two copies kept. What goes back to the older,
    which is at least `every` steps old or the first: weights, moments, counts, the model's buffers, torch's random
    generators, and what other policies remember of norms. What stays: the learning rate and all other settings of the
    parameter groups, a scaler's factor, the place in the data. This step and the next `skip` are left out. After
    `limit` returns it gives up, and says so.

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, section 5.1: by hand, from a checkpoint about 100 steps
    before the spike, 200 to 500 batches left out.
    Defaults: `every` theirs; limit and skip were set by hand. On the norms of 988 healthy trainings, 239,490 steps
    (studies/calibration), patience=10 goes back in none, 5 in one, once, 3 in one, twice.
    Departures: the data is not rewound, so that the batches since the copy do not come again, which are most of what
    they leave out. A script that draws its batches from torch's generator does draw them again: set skip=200. A
    gradient that is not finite is left out, as by every policy. Each optimizer goes back by itself. Of several
    processes each knows its own weights alone: there only gradients are judged, so that all go back alike.
    Cost: two copies of weights and state in the host's memory, copied into every `every` steps; on a GPU the host waits
    for the norms at every step.
    """
    every = whole("every", every, 1)
    skip = whole("skip", skip, 0)
    patience = whole("patience", patience, 1)
    limit = whole("limit", limit, 1)
    positive("threshold", threshold)

    def start(tensors: int, xp: Namespace) -> State:
        return _Memory(nothing_yet(WINDOW, NUMPY), since=every)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        memory = _Memory(*state)
        with xp.quiet():
            value = float(log_norm(vitals, xp))
        finite = bool(vitals.all_finite) and math.isfinite(value)
        if memory.resting:
            return memory._replace(resting=memory.resting - 1), Decision(True, recovery=Recovery(rest=True))
        if memory.returns > limit:
            return memory, Decision(not finite)
        with NUMPY.quiet():
            bad = not finite or bool(stands_out(memory.history, value, threshold, NUMPY))
        due = not bad and memory.since >= every
        lost = (not finite or due) and not vitals.weights_finite()
        if lost or (bad and memory.bad + 1 >= patience):
            return _returned(memory, finite, skip, limit)
        if bad:
            return memory._replace(bad=memory.bad + 1), Decision(not finite)
        history = appended(memory.history, NUMPY.full(1, value)[0], NUMPY)
        memory = memory._replace(history=history, since=1 if due else memory.since + 1, bad=0)
        return memory, Decision(False, recovery=Recovery(keep=True) if due else None)

    def returned(now: State, then: State) -> State:
        return _Memory(*now)._replace(history=_Memory(*then).history)

    needs = frozenset({"norms"})
    others = {"skip": (skip, 20), "patience": (patience, 10), "limit": (limit, 5), "threshold": (threshold, 6.0)}
    text = text_of("recover=rollback", every, **others)
    return Policy(text, decide, start, needs=needs, compares=True, on_host=True, returned=returned)


def _returned(memory: _Memory, finite: bool, skip: int, limit: int) -> tuple[State, Decision]:
    """The step is left out and the weights go back, unless they have done so `limit` times."""
    returns = memory.returns + 1
    if returns > limit:
        return memory._replace(returns=returns), Decision(not finite, recovery=Recovery(gives_up=True))
    memory = memory._replace(since=0, bad=0, resting=skip, returns=returns)
    return memory, Decision(True, recovery=Recovery(back=True))
