"""gradient=centralised: each unit's gradient has mean 0."""

from __future__ import annotations

import math

from ._policy import Decision, Policy, State, Vitals, never, other_axes, protected
from ._settings import text_of
from ._xp import Array, Namespace


def gradient_centralised() -> Policy:
    """Take from the gradient of each unit its mean, so that the sum of the unit's weights stays.

    G_u is the gradient of the weights that lead into unit u:

        G_u <- G_u - mean(G_u)

    Vectors and scalars are left alone.

    Source: Yong et al. 2020, arXiv:2004.01461, equation 1.
    Departures: what is not finite skips the step. `optax.centralize` takes the first axis for that of the units,
    which holds for PyTorch's weights, not for flax' kernels.
    """

    def of_tensor(grad: Array, unit_axis: int | None, xp: Namespace) -> Array:
        axes = other_axes(grad, unit_axis)
        if axes is None:
            return grad
        entries = math.prod(grad.shape[axis] for axis in axes)
        wide = xp.wide(grad)
        return xp.like(wide - xp.sum(wide, axes) / max(entries, 1), grad)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        rows = zip(vitals.grads, vitals.layout.unit_axes, strict=True)
        return state, Decision(never(vitals), grads=tuple(of_tensor(grad, axis, xp) for grad, axis in rows))

    needs = frozenset({"grads"})
    return Policy(text_of("gradient=centralised"), protected(decide, needs), needs=needs)
