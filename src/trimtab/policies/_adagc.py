"""clip=adagc: for each tensor a bound that follows its own norms."""

from __future__ import annotations

import math

from ._policy import Decision, Policy, State, Vitals, global_norm, limit, never, protected
from ._settings import fraction, positive, text_of, whole
from ._xp import Namespace


def clip_adagc(ratio: float = 1.05, beta: float = 0.98, max_norm: float = 1.0, warm_up: int = 100) -> Policy:
    """Clip each tensor's gradient to a little more than the running mean of its clipped norms.

    n_i is the norm of tensor i, gamma_i its running mean; max_norm has the unit of a gradient, ratio none:

        g_i <- g_i * min(1, ratio gamma_i / n_i),   gamma_i <- beta gamma_i + (1 - beta) n*_i

    n*_i being the clipped norm. In the first `warm_up` steps instead

        g <- g * min(1, max_norm / ||g||_2),   gamma_i <- min(gamma_i, n*_i)

    Source: Wang et al. 2025, arXiv:2502.11034, algorithm 1, with its constants.
    Departures: a norm of 0 leaves gamma as it is, else a tensor without a gradient at one early step would never move
    again; a tensor that has had no gradient in the warm-up starts with its first; what is not finite skips the step.
    """
    positive("ratio", ratio)
    fraction("beta", beta)
    positive("max_norm", max_norm)
    warm_up = whole("warm_up", warm_up, 1)

    def start(tensors: int, xp: Namespace) -> State:
        return xp.full(1, 0.0)[0], xp.full(tensors, math.inf)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        seen, gamma = state
        norms = xp.sqrt(vitals.grad_sum_of_squares)
        is_warm, moves, known = seen > warm_up - 0.5, norms > 0.0, xp.isfinite(gamma)
        early = limit(global_norm(vitals, xp), max_norm, 0.0, xp)
        late = xp.where(moves & known, limit(norms, ratio * gamma, 0.0, xp), 1.0)
        scale = xp.where(is_warm, late, early)
        clipped = norms * scale
        averaged = xp.where(known, beta * gamma + (1.0 - beta) * clipped, clipped)
        proposed = xp.where(is_warm, averaged, xp.minimum(gamma, clipped))
        gamma = xp.where(moves, proposed, gamma)
        return (xp.minimum(seen + 1.0, float(warm_up)), gamma), Decision(never(vitals), scale)

    needs = frozenset({"norms"})
    others = {"beta": (beta, 0.98), "max_norm": (max_norm, 1.0), "warm_up": (warm_up, 100)}
    text = text_of("clip=adagc", ratio, **others)
    return Policy(text, protected(decide, needs), start, needs=needs, bounds=True, compares=True)
