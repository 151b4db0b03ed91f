"""gradient=sign: of each entry only its sign."""

from __future__ import annotations

from ._policy import Decision, Policy, State, Vitals, never, protected
from ._settings import text_of
from ._xp import Namespace

# They leave the sign of every entry as it is.
CLIPS = ("global", "value", "tensor", "autoclip", "zclip", "adagc", "agc")
UNDOES = frozenset({"gradient=normalised", *(f"clip={name}" for name in CLIPS)})


def gradient_sign() -> Policy:
    """Move every weight by the same amount, in the direction that its gradient has.

        g <- sign(g)

    The gradient's norm becomes sqrt(D), D being the number of weights: learning rates are those of signSGD, far
    smaller than those of SGD.

    Source: Bernstein et al. 2018, arXiv:1802.04434, algorithm 1; `optax.scale_by_sign`.
    Departure: what is not finite skips the step.
    """

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        return state, Decision(never(vitals), grads=tuple(xp.sign(g) for g in vitals.grads))

    needs = frozenset({"grads"})
    return Policy(text_of("gradient=sign"), protected(decide, needs), needs=needs, bounds=True, undoes=UNDOES)
