"""skip=nonfinite: no update from a gradient with NaN or infinity in it."""

from __future__ import annotations

import math

from ._policy import Decision, Policy, State, Vitals, never, protected
from ._settings import text_of
from ._xp import Namespace


def skip_nonfinite() -> Policy:
    """Leave out a step whose gradient has a NaN or an infinity anywhere.

        skip = not all(isfinite(g))

    Source: the rule of loss scaling, Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.
    Departure: `optax.apply_if_finite` applies the NaN after its limit of consecutive errors; this never does.
    A finite gradient passes, however long it is.
    """

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        return state, Decision(never(vitals))  # what `protected` adds is all there is to do

    needs: frozenset[str] = frozenset()
    return Policy(text_of("skip=nonfinite"), protected(decide, needs), needs=needs, harmless=math.inf)
