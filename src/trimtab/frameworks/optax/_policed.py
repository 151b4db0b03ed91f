"""Policies inside a traced step: what they make of its gradients, and a step left out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from trimtab._errors import TrimtabError

from ...policies import Decision, Layout, Policy, Vitals
from ...policies._policy import scaled
from ..jax._xp import JAX


def decide(
    policy: Policy, memory: Any, gradients: list[Any], norms: Any, weights: list[Any] | None
) -> tuple[Any, Decision]:
    """The new memory, and the decision on a step, whose `grads` are those for the optimizer, None where they stay.

    `norms`: float32, shape (n,), of `gradients`, finite if and only if all entries are. Units lie on the last axis of
    tensors of two or more, as in flax' kernels; no tensor is known to be of the last layer.
    """
    layout = Layout(tuple(-1 if jnp.ndim(g) > 1 else None for g in gradients), (False,) * len(gradients))
    maps = not policy.needs <= {"norms"}
    if maps and any(jnp.iscomplexobj(g) for g in gradients):
        raise TrimtabError(f"`{policy.text}` needs real gradients; one is complex")
    if "weights" in policy.needs and weights is None:
        raise TrimtabError(f"`{policy.text}` needs the parameters: call update(gradients, state, params)")
    tensors = tuple(jnp.asarray(g) for g in gradients) if maps else ()
    vitals = Vitals(jnp.square(norms), jnp.all(jnp.isfinite(norms)), tensors, tuple(weights or ()), layout)
    memory, decision = policy.decide(memory, vitals, JAX)
    return memory, Decision(decision.skip, None, _changed(decision, gradients), decision.parts)


def acts(decision: Decision) -> tuple[Any, Any]:
    """Which policy skipped the step, the first of them, bool, and the least factor of each, float32, both (policies,).

    The factor is NaN for a policy that maps gradients entry by entry, and 1 where the step is skipped.
    """
    skips = jnp.stack([part.skip for part in decision.parts])
    first = skips & (jnp.cumsum(skips) == 1)
    factors = jnp.stack([_least(part) for part in decision.parts])
    return first, jnp.where(decision.skip, 1.0, factors)


def beside(gradients: Any, params: Any) -> list[Any]:
    """The parameters of the gradients, in their order."""
    return jax.tree_util.tree_leaves(jax.tree_util.tree_map(lambda _, param: param, gradients, params))


def left_out(skip: Any, updates: Any) -> Any:
    """`updates`, or zeros: negative ones, since a weight of -0.0 plus 0.0 would be another."""
    return jax.tree_util.tree_map(lambda update: jnp.where(skip, jnp.full_like(update, -0.0), update), updates)


def kept(skip: Any, old: Any, new: Any) -> Any:
    """The state `new`, or `old` to the bit where the step is skipped."""
    return jax.tree_util.tree_map(lambda before, after: jnp.where(skip, before, after), old, new)


def _changed(decision: Decision, gradients: list[Any]) -> tuple[Any, ...] | None:
    """The gradients for the optimizer; None where no policy can change them.

    They come out of a branch, of which XLA can't see the inside: joined with the optimizer's own operations, those of
    the policies would change in which order XLA adds and multiplies, and so how a step rounds that they leave alone.
    """
    if decision.scale is None and decision.grads is None:
        return None
    given = tuple(jnp.asarray(g) for g in gradients)
    factors = jnp.broadcast_to(1.0 if decision.scale is None else decision.scale, len(given))
    touched, mapped = jnp.any(factors != 1.0), given
    if decision.grads is not None:
        mapped = decision.grads
        touched |= jnp.any(jnp.stack([jnp.any(new != old) for new, old in zip(mapped, given, strict=True)]))
    return tuple(
        jax.lax.cond(touched, lambda: list(map(_times, mapped, factors)), lambda: list(given)),
    )


def _times(grad: Any, factor: Any) -> Any:
    return (grad * factor).astype(grad.dtype) if jnp.iscomplexobj(grad) else scaled(grad, factor, JAX)


def _least(part: Decision) -> Any:
    if part.grads is not None:
        return jnp.float32(jnp.nan)
    return jnp.float32(1.0) if part.scale is None else jnp.min(part.scale, initial=1.0)
