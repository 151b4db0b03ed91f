"""What is measured of one update, as one vector of float32, inside the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._guarding import Acts, acts_of
from ..jax._tracing import JaxTracing
from ._names import named_leaves
from ._pieces import Piece, held, learning_rates, maker
from ._updates import Call

HEAD = ("lr", "lr_max", "loss", "applied", "skipped", "sampled")


@dataclass(frozen=True)
class Layout:
    """Where in the vector what is. `clipped`: norms behind the policies and the script's own clip follow the raw ones;
    `policies`: last what so many of them did."""

    names: tuple[str, ...]
    clipped: bool
    policies: int = 0

    def read(self, vector: Any) -> Reading:
        count, at = len(self.names), len(HEAD)
        head = dict(zip(HEAD, vector[:at].tolist(), strict=True))
        end = at + count * (1 + self.clipped)
        norms = np.asarray(vector[at:end], dtype=np.float64).reshape(1 + self.clipped, count)
        raw = norms[0]
        did = acts_of(np.asarray(vector[end:])) if self.policies else None
        return Reading(head, raw, norms[1] if self.clipped else raw, did)


@dataclass(frozen=True)
class Reading:
    """The vector on the host: NaN in `head` is not known."""

    head: dict[str, float]
    raw: Any
    applied: Any
    acts: Acts | None


def measure(call: Call, pieces: list[Piece], loss: Any, tracing: JaxTracing) -> tuple[Layout, Any]:
    """The layout and the vector of an update, in the trace in which it is called.

    Of what the step computes nothing is read but its gradients, and these so that XLA fuses its operations, and
    rounds, as ever; what a clip makes of them is computed again.
    """
    names, gradients = named_leaves(call.gradients)
    own, guarded = _gathered(call, gradients, tracing), call.guarded
    raw = tracing.norms(gradients if own is None else own) if guarded is None else guarded.norms
    rates = learning_rates(pieces, call.state, call.new_state) or [jnp.nan]
    head = [rates[0], _largest(rates), loss, *_applied(call), tracing.is_sampled()]
    parts = [jnp.stack([jnp.asarray(number, jnp.float32).reshape(()) for number in head]), raw]
    clipped, left = bool(call.clips), raw
    if guarded is not None and guarded.changes:
        clipped, own = True, jax.tree_util.tree_leaves(guarded.gradients)
        left = tracing.norms(own)
    if call.clips:
        left = _clipped_norms(call, tracing.apart(gradients) if own is None else own, left, tracing)
    parts += [left] if clipped else []
    parts += [] if guarded is None else [guarded.acts]
    return Layout(tuple(names), clipped, 0 if guarded is None else len(guarded.acts) // 2), jnp.concatenate(parts)


def _clipped_norms(call: Call, leaves: list[Any], norms: Any, tracing: JaxTracing) -> Any:
    """Norms of the gradients that the optimizer gets, behind the script's own clips."""
    limits = [held(clip).get("max_norm") for clip, _ in call.clips]
    makers = {maker(clip) for clip, _ in call.clips}
    if makers <= {"clip_by_global_norm"} and None not in limits:
        return norms * _factor(limits, norms)
    gradients = _like(call.gradients, leaves)
    for clip, state in call.clips:
        gradients, _ = clip(gradients, state, call.parameters)
    return tracing.norms(jax.tree_util.tree_leaves(gradients))


def _factor(limits: list[Any], norms: Any) -> Any:
    """Of clips by the global norm, one after the other."""
    largest = jnp.max(norms, initial=0.0)
    scale = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    total, factor = scale * jnp.sqrt(jnp.sum(jnp.square(norms / scale))), jnp.float32(1)
    for limit in limits:
        factor = jnp.where(total * factor < limit, factor, limit / total)
    return factor


def _like(tree: Any, leaves: list[Any]) -> Any:
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(tree), leaves)


def _largest(rates: Sequence[Any]) -> Any:
    return jnp.max(jnp.stack([jnp.asarray(rate, jnp.float32).reshape(()) for rate in rates]))


def _applied(call: Call) -> tuple[Any, Any]:
    """Whether the optimizer has made a step, and whether a wrapper withheld it because of what is not finite."""
    done: Any = True
    if hasattr(call.new_state, "mini_step") and hasattr(call.new_state, "gradient_step"):
        done = call.new_state.gradient_step != call.state.gradient_step
    skipped: Any = False
    if hasattr(call.new_state, "notfinite_count") and hasattr(call.new_state, "last_finite"):
        skipped = jnp.logical_not(call.new_state.last_finite)
    return done, skipped


def _gathered(call: Call, gradients: list[Any], tracing: JaxTracing) -> list[Any] | None:
    """Where `MultiSteps` gathers several gradients to one, what it has so far; else None."""
    steps = call.function
    if not hasattr(steps, "_acc_update") or not hasattr(call.state, "acc_grads"):
        return None
    return [
        steps._acc_update(gradient, so_far, n_acc=call.state.mini_step)
        for gradient, so_far in zip(
            tracing.apart(gradients), jax.tree_util.tree_leaves(call.state.acc_grads), strict=True
        )
    ]


def matching(tree: Any, gradients: list[Any]) -> list[Any] | None:
    """Its leaves, if they are of the gradients' shapes."""
    leaves = jax.tree_util.tree_leaves(tree)
    if len(leaves) != len(gradients) or any(
        jnp.shape(a) != jnp.shape(g) for a, g in zip(leaves, gradients, strict=True)
    ):
        return None
    return leaves
