"""Weights and second moments before and after a sampled step: read on the host from what a jitted step is given and
returns.

Inside the step they can't be had cheaply: XLA would copy all that it changes in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from .._facts import norm, step_facts
from .._guard import Guard
from .._patches import Patches
from ..jax._scope import innermost
from ..jax._trace import is_outside
from ..jax._tracing import JaxTracing
from ._measure import matching
from ._names import named_leaves
from ._pieces import Piece, second_decay, second_moments
from ._updates import Call

Samples = dict[str, Sequence[float | None]]
EPS = 1e-8


class Ends:
    """Arrays of the two ends of a step, as lists in the order of the tensors: places among the leaves of what a jitted
    function gets and returns, or, of an update that is executed at once, the arrays themselves."""

    def __init__(self) -> None:
        self.before: list[Any] = []
        self.after: list[Any] = []


class Weights:
    """What of one traced update is read at its ends."""

    def __init__(self, call: Call, pieces: list[Piece], tracing: JaxTracing) -> None:
        self._tracing = tracing
        self._own = is_outside()
        self._weights, self._moments, self._count = Ends(), Ends(), Ends()
        self._decay = second_decay(pieces)
        self._updates: list[Any] = []
        self._like: list[Any] = []
        scope = innermost()
        if scope is None and not (self._own and tracing.is_sampled()):
            return
        self._updates, self._like = jax.tree_util.tree_leaves(call.updates), named_leaves(call.gradients)[1]
        self._set_before(self._weights, call.parameters)
        if self._own and self._weights.before:
            self._weights.after = self._changed(self._weights.before)
        old, new = second_moments(call.state), second_moments(call.new_state)
        if old is not None and new is not None and self._decay is not None:
            self._set_before(self._moments, old.nu)
            self._set_after(self._moments, matching(new.nu, self._like))
            self._set_after(self._count, [new.count])
        if scope is not None:
            scope.at_end.append(lambda outputs: self._forget())

    @property
    def wanted(self) -> list[int]:
        """Places among the arguments."""
        return [] if self._own else [*self._weights.before, *self._moments.before]

    def applied(self, params: Any, updates: Any, new: Any) -> None:
        """The script has called `optax.apply_updates`."""
        leaves = jax.tree_util.tree_leaves(updates)
        if not leaves or len(leaves) != len(self._updates) or not all(map(_is, leaves, self._updates)):
            return
        self._set_before(self._weights, params)
        self._set_after(self._weights, matching(new, self._like))

    def measured(self) -> Samples:
        """Columns of a sampled step, on the host."""
        inputs, outputs = self._tracing.inputs, dict(enumerate(self._tracing.outputs))
        before, after = self._arrays(self._weights.before, inputs), self._arrays(self._weights.after, outputs)
        samples: Samples = {}
        if before:
            samples["weight_norm"] = [abs(norm(weight)) for weight in before]
        if before and after:
            samples["update_norm"] = [
                step_facts(*ends, None)["update_norm"] for ends in zip(before, after, strict=True)
            ]
        old, new = self._arrays(self._moments.before, inputs), self._arrays(self._moments.after, outputs)
        count = self._arrays(self._count.after, outputs)
        if old and new and count and self._decay is not None:
            correction = 1 - self._decay ** int(count[0])
            samples["g2_over_v"] = [_g2_over_v(*ends, self._decay, correction) for ends in zip(old, new, strict=True)]
        return samples

    def _changed(self, weights: list[Any]) -> list[Any]:
        """As `optax.apply_updates` will change them."""
        return [(w + u).astype(w.dtype) for w, u in zip(weights, self._updates, strict=True)]

    def _arrays(self, places: Sequence[Any], arrays: Mapping[int, Any]) -> list[Any]:
        """On the host; empty unless all are there."""
        found = places if self._own else [arrays[place] for place in places if place in arrays]
        return [np.asarray(array) for array in found] if len(found) == len(places) else []

    def _set_before(self, ends: Ends, tree: Any) -> None:
        arrays, scope = matching(tree, self._like), innermost()
        if arrays is not None and not ends.before:
            ends.before = arrays if self._own else _places(arrays, scope.inputs if scope is not None else [])

    def _set_after(self, ends: Ends, arrays: list[Any] | None) -> None:
        if arrays is None:
            return
        if self._own:
            ends.after = arrays
        elif (scope := innermost()) is not None:
            scope.at_end.append(lambda outputs: setattr(ends, "after", _places(arrays, outputs)))

    def _forget(self) -> None:
        """The trace has ended, and with it what it was made of."""
        self._updates, self._like = [], []


class Applications:
    """Has `apply` do what `optax.apply_updates` does, which it is given, and calls `seen` with the parameters, the
    updates and the result."""

    def __init__(
        self, guard: Guard, seen: Callable[[Any, Any, Any], None], apply: Callable[[Any, Any, Any], Any]
    ) -> None:
        self._seen = guard(seen)
        self._apply = apply

    def attach(self, patches: Patches) -> None:
        original = optax.apply_updates

        @functools.wraps(original)
        def apply_updates(params: Any, updates: Any) -> Any:
            new = self._apply(original, params, updates)
            self._seen(params, updates, new)
            return new

        patches.replace(optax, "apply_updates", apply_updates)


def _g2_over_v(old: Any, new: Any, decay: float, correction: float) -> float:
    """sqrt(mean(g^2 / v_hat)), g^2 as Adam has put it into v: v_new = b2 v_old + (1 - b2) g^2."""
    after = np.abs(new.astype(np.float64))
    squares = np.maximum(after - decay * np.abs(old.astype(np.float64)), 0) / (1 - decay)
    return float(np.sqrt(np.mean(squares / np.maximum(after / correction, EPS * EPS)))) if new.size else 0.0


def _places(arrays: Sequence[Any], among: Sequence[Any]) -> list[int]:
    """Empty unless all are there."""
    where = {id(each): place for place, each in enumerate(among)}
    places = [where[id(array)] for array in arrays if id(array) in where]
    return places if len(places) == len(arrays) else []


def _is(a: Any, b: Any) -> bool:
    return a is b
