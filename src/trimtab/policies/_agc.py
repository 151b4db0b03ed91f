"""clip=agc: a bound for each unit's gradient, in proportion to the unit's weights."""

from __future__ import annotations

from ._policy import Decision, Policy, State, Vitals, never, other_axes, protected, scaled
from ._settings import positive, text_of
from ._xp import Array, Namespace


def clip_agc(ratio: float = 0.01, epsilon: float = 1e-3) -> Policy:
    """Clip the gradient of each unit to a small part of the length of its weights.

    G_u and W_u are gradient and weights of unit u (a row of a linear layer, an output channel of a convolution, a
    whole vector); ratio is unitless, epsilon has the unit of a weight:

        G_u <- G_u * min(1, ratio max(||W_u||, epsilon) / ||G_u||)

    Source: Brock et al. 2021, arXiv:2102.06171, equation 3, with epsilon 1e-3; the last layer (`Layout.heads`) is left
    out, as there. ratio 0.01 is theirs for batches of 4096 images.
    Departure: what is not finite skips the step. `optax.adaptive_grad_clip` clips the last layer as well, and takes
    a kernel of three axes to have its units on two of them.
    """
    positive("ratio", ratio)
    positive("epsilon", epsilon)

    def of_tensor(grad: Array, weight: Array, unit_axis: int | None, xp: Namespace) -> Array:
        axes = other_axes(grad, unit_axis)
        norm = xp.sqrt(xp.sum_of_squares(grad, axes))
        most = ratio * xp.maximum(xp.sqrt(xp.sum_of_squares(weight, axes)), epsilon)
        most = xp.like(most, norm)
        return scaled(grad, xp.where(norm > most, most / xp.maximum(norm, 1e-6), 1.0), xp)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        layout = vitals.layout
        rows = zip(vitals.grads, vitals.weights, layout.unit_axes, layout.heads, strict=True)
        grads = tuple(grad if head else of_tensor(grad, weight, axis, xp) for grad, weight, axis, head in rows)
        return state, Decision(never(vitals), grads=grads)

    needs = frozenset({"grads", "weights"})
    text = text_of("clip=agc", ratio, epsilon=(epsilon, 1e-3))
    return Policy(text, protected(decide, needs), needs=needs, bounds=True)
