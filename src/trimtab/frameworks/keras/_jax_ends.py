"""JAX: weights and second moments at both ends of a sampled step, read on the host from what the jitted step is given
and returns.

Inside the step they can't be had cheaply: XLA would copy all that it changes in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _facts
from ..jax._scope import innermost
from ..jax._tracing import JaxTracing
from ._receiver import Receiver
from ._values import moments_of

Columns = dict[str, Sequence[float | None]]


class JaxEnds:
    """Places of a step's arrays among the leaves of the jitted function's arguments and of what it returns."""

    def __init__(self, tracing: JaxTracing, optimizer: Any, variables: list[Any]) -> None:
        self._tracing = tracing
        self._beta, self._eps = getattr(optimizer, "beta_2", None), float(getattr(optimizer, "epsilon", 1e-7))
        self._every = optimizer.gradient_accumulation_steps or 1
        scope = innermost()
        self._inputs = [] if scope is None else scope.inputs
        self._weights = self._places([v.value for v in variables], self._inputs)
        self._moments: list[int] = []
        self._after: dict[str, list[int]] = {}

    @property
    def are_known(self) -> bool:
        """The step's weights are arguments of the jitted function as they are."""
        return bool(self._weights)

    @property
    def wanted(self) -> list[int]:
        """Places among the arguments."""
        return [*self._weights, *self._moments]

    def end(self, optimizer: Any, variables: list[Any], moments_before: list[Any]) -> None:
        """The step has been traced: its results will be among what the function returns."""
        self._moments = self._places(moments_before, self._inputs)
        self._inputs = []
        new = {"weights": [v.value for v in variables], "count": [optimizer._iterations.value]}
        if self._moments:
            new["moments"] = [v.value for v in moments_of(optimizer, variables)]
        scope = innermost()
        if scope is not None:
            scope.at_end.append(lambda outputs: self._find(new, outputs))

    def columns(self, zeros: Sequence[float | None] | None) -> Columns:
        """Of a sampled step; `zeros` are the gradients' zero entries, without which nothing is said of `lost_updates`.
        An entry without a gradient counts as one that stays as it is, so that they are the least that they can be."""
        inputs, outputs = self._tracing.inputs, dict(enumerate(self._tracing.outputs))
        before, after = _arrays(self._weights, inputs), _arrays(self._after.get("weights", []), outputs)
        columns: Columns = {}
        if before:
            columns["weight_norm"] = [abs(_facts.norm(weight)) for weight in before]
        if before and after:
            ends = list(zip(before, after, strict=True))
            columns["update_norm"] = [_facts.step_facts(*each, None)["update_norm"] for each in ends]
            if zeros is not None:
                columns["lost_updates"] = [_lost(*each, zero) for each, zero in zip(ends, zeros, strict=True)]
        old, new = _arrays(self._moments, inputs), _arrays(self._after.get("moments", []), outputs)
        count = _arrays(self._after.get("count", []), outputs)
        if old and new and count and self._beta is not None:
            correction = 1 - self._beta ** (int(count[0]) // self._every)
            pairs = zip(old, new, strict=True)
            columns["g2_over_v"] = [_g2_over_v(*pair, self._beta, correction, self._eps) for pair in pairs]
        return columns

    def _find(self, new: dict[str, list[Any]], outputs: list[Any]) -> None:
        self._after = {name: self._places(arrays, outputs) for name, arrays in new.items()}
        new.clear()

    def _places(self, arrays: Sequence[Any], among: Sequence[Any]) -> list[int]:
        """Empty unless all are there."""
        where = {id(each): place for place, each in enumerate(among)}
        places = [where[id(array)] for array in arrays if id(array) in where]
        return places if len(places) == len(arrays) else []


class ReceiverWithEnds:
    """Takes the vectors of one trace, and the arrays at the ends of its sampled steps."""

    def __init__(self, receiver: Receiver, ends: JaxEnds) -> None:
        self._receiver, self._ends = receiver, ends
        self.optimizer = receiver.optimizer

    @property
    def wanted(self) -> list[int]:
        return self._ends.wanted

    def __call__(self, vector: Any) -> None:
        self._receiver(np.asarray(vector), self._ends.columns)


def _arrays(places: Sequence[int], arrays: dict[int, Any]) -> list[Any]:
    """On the host; empty unless all are there."""
    found = [arrays[place] for place in places if place in arrays]
    return [np.asarray(array) for array in found] if len(found) == len(places) else []


def _lost(before: Any, after: Any, zeros: float | None) -> float | None:
    moved, with_gradient = int(np.count_nonzero(before != after)), before.size - int(zeros or 0)
    return max(0, with_gradient - moved) / with_gradient if with_gradient else None


def _g2_over_v(old: Any, new: Any, beta: float, correction: float, eps: float) -> float:
    """sqrt(mean(g^2 / v_hat)), g^2 as Adam has put it into v: v_new = beta v_old + (1 - beta) g^2."""
    after = new.astype(np.float64)
    squares = np.maximum(after - beta * old.astype(np.float64), 0) / (1 - beta)
    return float(np.sqrt(np.mean(squares / np.maximum(after / correction, eps * eps)))) if new.size else 0.0
