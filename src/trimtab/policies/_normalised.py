"""gradient=normalised: every step has a gradient of the same length."""

from __future__ import annotations

from ._policy import Decision, Policy, State, Vitals, global_norm, never, protected
from ._settings import positive, text_of
from ._xp import Namespace

# They change the length of the whole gradient and nothing else.
UNDOES = frozenset({"clip=global", "clip=autoclip", "clip=zclip"})


def gradient_normalised(norm: float = 1.0, epsilon: float = 1e-6) -> Policy:
    """Keep the direction of the whole gradient, and give it one length.

    g is every gradient laid end to end; norm and epsilon have its unit:

        g <- g * norm / (||g||_2 + epsilon)

    Source: Hazan, Levy and Shalev-Shwartz 2015, arXiv:1507.02030, algorithm 1; `optax.normalize_by_update_norm`,
    which has this epsilon.
    Departure: what is not finite skips the step. A gradient far shorter than epsilon stays short.
    """
    positive("norm", norm)
    positive("epsilon", epsilon)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        return state, Decision(never(vitals), norm / (global_norm(vitals, xp) + epsilon))

    needs = frozenset({"norms"})
    text = text_of("gradient=normalised", norm, epsilon=(epsilon, 1e-6))
    return Policy(text, protected(decide, needs), needs=needs, bounds=True, undoes=UNDOES)
