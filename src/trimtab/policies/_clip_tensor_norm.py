"""clip=tensor: a bound for the length of each tensor's gradient."""

from __future__ import annotations

from ._policy import Decision, Policy, State, Vitals, below, limit, never, protected
from ._settings import not_negative, positive, text_of
from ._xp import Namespace


def clip_tensor_norm(max_norm: float, epsilon: float = 1e-6) -> Policy:
    """Pull each tensor's gradient back onto the sphere of radius max_norm, apart from the others.

    g_i is the gradient of tensor i; max_norm and epsilon have its unit:

        g_i <- g_i * min(1, max_norm / (||g_i||_2 + epsilon))

    Source: `clipnorm` of Keras' optimizers, which has epsilon 0. The direction of the whole gradient changes.
    Departure: a norm that is not finite skips the step.
    """
    positive("max_norm", max_norm)
    not_negative("epsilon", epsilon)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        scale = limit(xp.sqrt(vitals.grad_sum_of_squares), max_norm, epsilon, xp)
        return state, Decision(never(vitals), scale)

    needs = frozenset({"norms"})
    text = text_of("clip=tensor", max_norm, epsilon=(epsilon, 1e-6))
    return Policy(text, protected(decide, needs), needs=needs, bounds=True, harmless=below(max_norm, epsilon))
