"""A gradient transformation that carries the vitals of the one that it wraps."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from trimtab._errors import TrimtabError

from ..jax._norms import norms


class GuardState(NamedTuple):
    """The state of the inner transformation, and the gradients of the last step.

    `grad_norms` has their 2-norms in the structure of the parameters, `grad_norm` is that of all together, and
    `nonfinite` counts the tensors that held a NaN or an infinity; before the first step all are 0.
    """

    grad_norm: Any
    nonfinite: Any
    grad_norms: Any
    inner_state: Any


def guard(inner: optax.GradientTransformation, *policies: Any) -> optax.GradientTransformationExtraArgs:
    """`inner`, whose state carries the norms of its gradients; the updates are those of `inner`, to the bit.

    A norm is NaN or infinite if and only if an entry of its tensor is; entries of 1e30 and of 1e-30 have one too.
    """
    if not (isinstance(inner, tuple) and hasattr(inner, "init") and hasattr(inner, "update")):
        raise TrimtabError(f"guard needs an optax.GradientTransformation, such as optax.adam(1e-3); got {inner!r}")
    if policies:
        raise TrimtabError(
            f"guard takes no policies yet, got {policies[0]!r}; without any it watches and changes nothing"
        )
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> GuardState:
        zeros = jax.tree_util.tree_map(lambda _: jnp.zeros((), jnp.float32), params)
        return GuardState(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32), zeros, inner[0](params))

    def update(gradients: Any, state: GuardState, params: Any = None, **extra: Any) -> tuple[Any, GuardState]:
        leaves, structure = jax.tree_util.tree_flatten(gradients)
        each = norms(leaves)
        updates, inner_state = inner[1](gradients, state.inner_state, params, **extra)
        nonfinite = jnp.sum(~jnp.isfinite(each)).astype(jnp.int32)
        vitals = jax.tree_util.tree_unflatten(structure, list(each))
        return updates, GuardState(norms([each])[0], nonfinite, vitals, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)
