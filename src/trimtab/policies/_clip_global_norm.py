"""clip=global: one bound for the length of the whole gradient."""

from __future__ import annotations

from ._policy import Decision, Policy, State, Vitals, below, global_norm, limit, never, protected
from ._settings import not_negative, positive, text_of
from ._xp import Namespace


def clip_global_norm(max_norm: float = 1.0, epsilon: float = 1e-6) -> Policy:
    """Pull a long gradient back onto the sphere of radius max_norm; its direction stays.

    g is every gradient laid end to end, shape (D,); max_norm and epsilon have its unit:

        g <- g * min(1, max_norm / (||g||_2 + epsilon))

    Source: Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, algorithm 1.
    Defaults: max_norm 1, the usual one for transformers (Brown et al. 2020, arXiv:2005.14165, appendix B); epsilon
    as in `torch.nn.utils.clip_grad_norm_`; Keras and optax have 0.
    Departure: a norm that is not finite skips the step; scaling cannot cure a NaN.
    """
    positive("max_norm", max_norm)
    not_negative("epsilon", epsilon)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        scale = limit(global_norm(vitals, xp), max_norm, epsilon, xp)
        return state, Decision(never(vitals), scale)

    needs = frozenset({"norms"})
    text = text_of("clip=global", max_norm, epsilon=(epsilon, 1e-6))
    return Policy(text, protected(decide, needs), needs=needs, bounds=True, harmless=below(max_norm, epsilon))
