"""clip=value: a bound for each entry."""

from __future__ import annotations

from ._policy import Decision, Policy, State, Vitals, below, never, protected
from ._settings import positive, text_of
from ._xp import Namespace


def clip_value(max_value: float) -> Policy:
    """Cut each entry of the gradient to at most max_value in size.

    max_value has the unit of a gradient; for each entry:

        g <- max(-max_value, min(max_value, g))

    Source: `torch.nn.utils.clip_grad_value_`; Graves 2013, arXiv:1308.0850, section 2.1, for recurrent nets.
    No default: the size of an entry depends on the size of the network.
    Departure: infinity, which would be cut to max_value, skips the step as NaN does.
    """
    positive("max_value", max_value)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        grads = tuple(xp.maximum(xp.minimum(g, max_value), -max_value) for g in vitals.grads)
        return state, Decision(never(vitals), grads=grads)

    needs = frozenset({"grads"})
    text = text_of("clip=value", max_value)
    return Policy(text, protected(decide, needs), needs=needs, bounds=True, harmless=below(max_value))
