"""clip=autoclip: a bound that follows the training, a percentile of its own norms."""

from __future__ import annotations

from ._history import appended, nothing_yet, quantile
from ._policy import Decision, Policy, State, Vitals, global_norm, limit, never, protected
from ._settings import PolicyError, positive, text_of, whole
from ._xp import Namespace


def clip_autoclip(percentile: float = 10.0, window: int = 1000) -> Policy:
    """Clip the whole gradient to a low percentile of the norms seen so far, this one's among them.

    n_t is the global norm of step t, h the norms of the last `window` steps, unclipped:

        g <- g * min(1, percentile(h, p) / (n_t + 1e-6))

    Source: Seetharaman et al. 2020, arXiv:2007.14469, algorithm 1 and section 3, p = 10. Nine of ten steps are
    clipped: that is the method, no fault.
    Departures: the last `window` norms and not all, since the memory has a fixed size; norms that are not finite
    skip the step and stay out of the memory.
    """
    positive("percentile", percentile)
    if percentile > 100:
        raise PolicyError(f"percentile must be above 0 and at most 100, got percentile={percentile!r}")
    window = whole("window", window, 1)

    def start(tensors: int, xp: Namespace) -> State:
        return (nothing_yet(window, xp),)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        norm = global_norm(vitals, xp)
        history = appended(state[0], norm, xp)
        scale = limit(norm, quantile(history, percentile / 100, xp), 1e-6, xp)
        return (history,), Decision(never(vitals), scale)

    needs = frozenset({"norms"})
    text = text_of("clip=autoclip", percentile, window=(window, 1000))
    return Policy(text, protected(decide, needs), start, needs=needs, bounds=True, compares=True)
