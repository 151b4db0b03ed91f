"""Policies on TensorFlow: decided in the graph, which leaves a step out by a branch; under XLA it is undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from ...policies._policy import scaled
from ..tensorflow._internals import hidden_variable, is_eager, is_xla
from ..tensorflow._norms import apart, norms
from ..tensorflow._xp import TENSORFLOW
from ._given import applies_by_itself
from ._guarding import Decided
from ._memory import Memory
from ._taking import EagerHands, Tensors, after_leaving_out, changed_by_step, forget_accumulated
from ._values import current


class TensorFlowHands(EagerHands):
    xp = TENSORFLOW

    def replicates(self) -> bool:
        return bool(tf.distribute.get_strategy().num_replicas_in_sync > 1)

    def norms(self, tensors: Tensors) -> Any:
        return norms(tensors)

    def apart(self, tensors: Tensors) -> Tensors:
        return apart(tensors)

    def number(self, x: Any) -> np.ndarray[Any, Any] | None:
        if isinstance(x, float):
            return np.asarray(x, np.float32)
        return np.asarray(x) if is_eager() or not tf.is_tensor(x) else None

    def memory(self, core: Any, start: np.ndarray[Any, Any]) -> Memory:
        return HiddenMemory(start)

    def dense(self, gradient: Any) -> Any:
        if isinstance(gradient, tf.IndexedSlices):
            raise TypeError("a gradient is sparse, and a policy needs dense ones")
        return tf.convert_to_tensor(gradient)

    def changed(self, grads: Tensors, change: Callable[[Tensors], Tensors], touched: Any) -> Tensors:
        if isinstance(touched, bool):
            return change(grads) if touched else grads
        values = [g.values if isinstance(g, tf.IndexedSlices) else tf.convert_to_tensor(g) for g in grads]
        chosen = tf.cond(touched, lambda: change(values), lambda: [tf.identity(v) for v in values])
        return [
            tf.IndexedSlices(new, g.indices, g.dense_shape) if isinstance(g, tf.IndexedSlices) else new
            for new, g in zip(chosen, grads, strict=True)
        ]

    def scaled(self, gradient: Any, factor: Any) -> Any:
        if isinstance(gradient, tf.IndexedSlices):
            values = self.scaled(gradient.values, factor)
            return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
        return scaled(tf.convert_to_tensor(gradient), factor, TENSORFLOW)

    def keep(self, decided: Decided) -> list[tuple[Any, Any]]:
        """In a graph run by TensorFlow itself a branch is cheaper than a copy of all weights. XLA rounds by what it
        compiles together, which a step in a branch would change."""
        if decided.is_concrete:
            return []
        if not tf.__internal__.distribute.strategy_supports_no_merge_call():
            raise TypeError("a strategy of tf.distribute takes the steps")
        if not is_xla() and not applies_by_itself(decided.given.core):
            return []
        return [(v, current(v)) for v in changed_by_step(decided)]

    def take(self, decided: Decided, call: Callable[[], Any]) -> Any:
        if decided.is_concrete:
            return super().take(decided, call)
        if decided.kept:
            return call()

        def leave_out() -> Any:
            forget_accumulated(decided.given)
            return tf.constant(False)

        def take() -> Any:
            call()
            return tf.constant(True)

        tf.cond(decided.skip, leave_out, take)
        return None

    def undo(self, decided: Decided) -> None:
        if not decided.kept:
            return
        left = [tf.convert_to_tensor(after_leaving_out(decided.given, v, before)) for v, before in decided.kept]
        new = [tf.convert_to_tensor(current(v)) for v, _ in decided.kept]
        # A choice that XLA could join with the update would change how that rounds.
        chosen = tf.cond(decided.skip, lambda: [tf.identity(x) for x in left], lambda: [tf.identity(x) for x in new])
        for (variable, _), value in zip(decided.kept, chosen, strict=True):
            variable.assign(value)


class HiddenMemory:
    """A variable of which no optimizer, model or checkpoint learns."""

    #: A graph does not keep the variables alive that it uses.
    _every: ClassVar[list[Any]] = []

    def __init__(self, start: np.ndarray[Any, Any]) -> None:
        self._variable = hidden_variable(start, tf.float32)
        self._every.append(self._variable)

    def read(self) -> Any:
        return self._variable.read_value()

    def write(self, vector: Any) -> None:
        self._variable.assign(vector, read_value=False)
