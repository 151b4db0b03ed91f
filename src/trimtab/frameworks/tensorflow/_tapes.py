"""The loss of loops written by hand: what `GradientTape.gradient` differentiates, tied to the step that uses it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from weakref import ref

import tensorflow as tf

from .._guard import Guard
from .._patches import Patches
from ._internals import GradientTape, current_graph, enclosing_graphs, hidden_variable, is_eager, stop_recording
from ._tracing import TensorFlowTracing

MOST_PASSES = 4096
Keys = frozenset[str]


class Pass:
    """One backward pass: its loss, the variables by which it was differentiated, the gradients that came of it."""

    def __init__(self, loss: Any, keys: Keys, grads: Sequence[Any]) -> None:
        self.loss = loss
        self.keys = keys
        self.stepped = False
        self._grads = [ref(g) for g in grads if g is not None]

    def gave(self, grads: Sequence[Any]) -> bool:
        """One of these gradients is its own, untouched."""
        given = {id(g) for g in grads}
        return any(id(g) in given for r in self._grads if (g := r()) is not None)


class StepLoss(NamedTuple):
    """Mean of the losses of `count` backward passes, float32 scalars."""

    loss: Any
    count: Any


class TapeLosses:
    """Backward passes since the last step.

    Those that are traced also add up in a variable, since it may be another function that takes the step: entries are
    the sum of the losses, their number, and whether a step has used them, so that the next pass begins anew.
    """

    def __init__(self, guard: Guard, tracing: TensorFlowTracing) -> None:
        #: A backward pass by variables has been seen.
        self.seen = False
        self._tracing = tracing
        self._note = guard(self._note_pass)
        self._take = guard(self._loss_of_step)
        self._own = threading.local()
        self._eager: list[Pass] = []
        self._sums: dict[Keys, Any] = {}

    def attach(self, patches: Patches) -> None:
        original = GradientTape.gradient

        @functools.wraps(original)
        def gradient(tape: Any, target: Any, sources: Any, output_gradients: Any = None, *args: Any, **kw: Any) -> Any:
            grads = original(tape, target, sources, output_gradients, *args, **kw)
            if output_gradients is None and not getattr(self._own, "jacobian", False):
                self._note(target, sources, grads)
            return grads

        patches.replace(GradientTape, "gradient", gradient)
        for name in ("jacobian", "batch_jacobian"):
            patches.replace(GradientTape, name, self._aside(getattr(GradientTape, name)))

    def of_step(self, grads: Sequence[Any], variables: Sequence[Any]) -> StepLoss | None:
        """The loss of a step that applies `grads` to `variables`, within it; None where no backward pass was seen.

        Passes that gave some of these very gradients count alone; where the script has changed the gradients, all that
        were taken by some of the variables since the last step.
        """
        found: StepLoss | None = self._take(grads, variables)
        return found

    def _aside(self, original: Any) -> Any:
        """A jacobian takes many gradients, of which none is a loss's."""

        @functools.wraps(original)
        def jacobian(*args: Any, **kwargs: Any) -> Any:
            self._own.jacobian = True
            try:
                return original(*args, **kwargs)
            finally:
                self._own.jacobian = False

        return jacobian

    def _note_pass(self, target: Any, sources: Any, grads: Any) -> None:
        keys = frozenset(_keys(tf.nest.flatten(sources)))
        targets = [t for t in tf.nest.flatten(target) if tf.is_tensor(t) and t.dtype.is_floating]
        if not keys or not targets or not self._tracing.watches():
            return
        self.seen = True
        with stop_recording():
            loss = tf.add_n([tf.reduce_sum(tf.cast(t, tf.float32)) for t in targets])
            new = Pass(loss, keys, tf.nest.flatten(grads))
            if is_eager():
                self._eager = [p for p in (*self._eager[-MOST_PASSES:], new) if not p.stepped]
            else:
                _passes_in(current_graph()).append(new)
                self._add(new)

    def _add(self, new: Pass) -> None:
        sums = self._sums.get(new.keys)
        if sums is None:
            sums = self._sums[new.keys] = hidden_variable([0.0, 0.0, 0.0], tf.float32)
        value = tf.stack([new.loss, 1.0, 0.0])
        sums.assign(tf.where(sums[2] > 0, value, sums + value), read_value=False)

    def _loss_of_step(self, grads: Sequence[Any], variables: Sequence[Any]) -> StepLoss | None:
        keys = set(_keys(variables))
        passes = [p for p in self._passes() if not keys.isdisjoint(p.keys)]
        own = [p for p in passes if p.gave(grads)]
        with stop_recording():
            if is_eager():
                for p in passes:
                    p.stepped = True
                return _mean(own or passes)
            sums = [sums for of, sums in self._sums.items() if not keys.isdisjoint(of)]
            found = _mean(own) or _mean_of_sums(sums)
            for each in sums:
                each.assign(tf.stack([each[0], each[1], 1.0]), read_value=False)
            return found

    def _passes(self) -> Sequence[Pass]:
        if is_eager():
            return self._eager
        return [p for graph in enclosing_graphs(current_graph()) for p in _passes_in(graph)]


def _passes_in(graph: Any) -> list[Pass]:
    """Kept by the graph itself, since they refer to it."""
    if not hasattr(graph, "_trimtab_passes"):
        graph._trimtab_passes = []
    passes: list[Pass] = graph._trimtab_passes
    return passes


def _mean(passes: Sequence[Pass]) -> StepLoss | None:
    if not passes:
        return None
    return StepLoss(tf.add_n([p.loss for p in passes]) / len(passes), float(len(passes)))


def _mean_of_sums(sums: Sequence[Any]) -> StepLoss | None:
    if not sums:
        return None
    total = tf.add_n([each.read_value() for each in sums])
    return StepLoss(total[0] / total[1], total[1])


def _keys(sources: Sequence[Any]) -> Iterator[str]:
    """What tells variables apart, Keras' own too; nothing for other tensors and what is not trainable."""
    for source in sources:
        variable = getattr(source, "_value", source)
        key = getattr(variable, "_unique_id", None)
        if key is not None and getattr(variable, "trainable", False):
            yield key
