"""A gradient transformation that guards the one that it wraps, and carries its vitals."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from trimtab._errors import TrimtabError

from ...policies import Policy, guarding, refuse_on_host
from ..jax._norms import norms
from ..jax._xp import JAX
from ._policed import acts, beside, decide, kept, left_out


class GuardState(NamedTuple):
    """The state of the inner transformation, the gradients of the last step, and what the policies did so far.

    `grad_norms` has the gradients' 2-norms before the policies, in the structure of the parameters, `grad_norm` is that
    of all together, and `nonfinite` counts the tensors that held a NaN or an infinity; before the first step all are 0.
    `skipped` and `changed` count by the policy's name the steps that it left out, and whose gradients it scaled; one
    that maps entries (as `clip=value`) counts every step that was not left out. `memory` is the policies' own.
    """

    grad_norm: Any
    nonfinite: Any
    grad_norms: Any
    inner_state: Any
    skipped: dict[str, Any]
    changed: dict[str, Any]
    memory: Any


def guard(inner: optax.GradientTransformation, *policies: str | Policy) -> optax.GradientTransformationExtraArgs:
    """`inner` on gradients that went through the policies, in order; its state carries norms and counts.

        tx = trimtab.optax.guard(optax.adamw(1e-3), "skip=nonfinite", "skip=spike", "clip=global:1.0")

    A skipped step has updates of zero, and the state of `inner` stays as it was, to the bit: moments, count, decay.
    Where no policy acts, the updates are those of `inner`, to the bit; without policies all are. `clip=agc` takes the
    last axis for that of the units, and every layer: none is known to be the last, which its paper leaves out.

    A norm is NaN or infinite if and only if an entry of its tensor is; entries of 1e30 and of 1e-30 have one too.
    Raises PolicyError at once for a policy that cannot be.
    """
    if not (isinstance(inner, tuple) and hasattr(inner, "init") and hasattr(inner, "update")):
        raise TrimtabError(f"guard needs an optax.GradientTransformation, such as optax.adam(1e-3); got {inner!r}")
    policy = guarding(policies) if policies else None
    if policy is not None:
        refuse_on_host(policy, "optax")
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> GuardState:
        leaves, structure = jax.tree_util.tree_flatten(params)
        zeros = jax.tree_util.tree_unflatten(structure, [jnp.zeros((), jnp.float32) for _ in leaves])
        memory = () if policy is None else policy.start(len(leaves), JAX)
        state = inner[0](params)
        return GuardState(
            jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32), zeros, state, _none(policy), _none(policy), memory
        )

    def update(gradients: Any, state: GuardState, params: Any = None, **extra: Any) -> tuple[Any, GuardState]:
        leaves, structure = jax.tree_util.tree_flatten(gradients)
        each = norms(leaves)
        if policy is None:
            updates, inner_state = inner[1](gradients, state.inner_state, params, **extra)
            state = state._replace(inner_state=inner_state)
        else:
            updates, state = _guarded(inner, policy, gradients, each, state, params, extra)
        nonfinite = jnp.sum(~jnp.isfinite(each)).astype(jnp.int32)
        return updates, state._replace(
            grad_norm=norms([each])[0],
            nonfinite=nonfinite,
            grad_norms=jax.tree_util.tree_unflatten(structure, list(each)),
        )

    return optax.GradientTransformationExtraArgs(init, update)


def _guarded(
    inner: Any, policy: Policy, gradients: Any, each: Any, state: GuardState, params: Any, extra: dict[str, Any]
) -> tuple[Any, GuardState]:
    """The updates and the state after a step of `inner` through the policies; `each`: norms of the gradients."""
    leaves, structure = jax.tree_util.tree_flatten(gradients)
    weights = None if params is None else beside(gradients, params)
    memory, decision = decide(policy, state.memory, leaves, each, weights)
    given = gradients if decision.grads is None else jax.tree_util.tree_unflatten(structure, decision.grads)
    updates, inner_state = inner[1](given, state.inner_state, params, **extra)
    skipped, factors = acts(decision)
    return left_out(decision.skip, updates), state._replace(
        inner_state=kept(decision.skip, state.inner_state, inner_state),
        skipped=_counted(state.skipped, policy, skipped),
        changed=_counted(state.changed, policy, factors != 1.0),
        memory=memory,
    )


def _none(policy: Policy | None) -> dict[str, Any]:
    return {} if policy is None else {part.name: jnp.zeros((), jnp.int32) for part in policy.parts}


def _counted(counts: dict[str, Any], policy: Policy, happened: Any) -> dict[str, Any]:
    """One more where it happened; by the policy's place, since JAX sorts the keys of a dict."""
    return {part.name: counts[part.name] + happened[place] for place, part in enumerate(policy.parts)}
