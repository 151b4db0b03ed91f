"""skip=spike: no update from a gradient far longer than those before it."""

from __future__ import annotations

from ._history import nothing_yet
from ._policy import Decision, Policy, State, Vitals, protected
from ._settings import positive, text_of, whole
from ._spikes import judged, log_norm
from ._xp import Namespace


def skip_spike(threshold: float = 6.0, window: int = 50, patience: int = 3) -> Policy:
    """Leave out a step whose gradient is far longer than those of the last accepted steps.

    n is the global norm, before the script's own clip where it has one (behind it no spike stands out), h the logs of
    the last `window` accepted norms, k of them; threshold is unitless:

        z = (log n - median h) / (max(0.3, 1.4826 median|h - median h|) * (1 + 2 / k))
        skip = z > threshold

    The logarithm, since norms vary by factors; median and MAD, since a spike must not hide the next one; only what
    was accepted enters h. It judges from the second step on: the fewer steps it knows, the farther out a spike must
    be (at k = 1 by a factor of 220; at k = 50 in a quiet training by 6.5). Nothing comes before the first step, which
    passes if it is finite. Short gradients pass.

    After `patience` spikes on end the gradient has a new level: the memory is cleared and the step passes. Few, since
    a bad batch is one step: where other batches show a spike too, it is the weights, which no skip brings back. A
    gradient that is not finite never passes, and does not count.

    Source: z of a robust location and scale, Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers, section
    3.3; skipping as in PaLM, Chowdhery et al. 2022, arXiv:2204.02311, section 5.1, where it was done by hand.
    """
    positive("threshold", threshold)
    window = whole("window", window, 5)
    patience = whole("patience", patience, 1)

    def start(tensors: int, xp: Namespace) -> State:
        return nothing_yet(window, xp), xp.full(1, 0.0)[0]

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        history, spikes = state
        skip, history, spikes = judged(history, spikes, log_norm(vitals, xp), threshold, patience, xp)
        return (history, spikes), Decision(skip)

    needs = frozenset({"norms"})
    text = text_of("skip=spike", threshold, window=(window, 50), patience=(patience, 3))
    return Policy(text, protected(decide, needs), start, needs=needs, compares=True)
