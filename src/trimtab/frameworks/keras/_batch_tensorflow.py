"""TensorFlow: the training function hands out a sampled step's batch and weights before it takes the step.

In a graph that is a branch which is taken at sampled steps only, outside of what XLA compiles. There they are kept, and
looked at when the training function has returned.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

from .._guard import Guard
from .._patches import Patches
from ..tensorflow._tracing import TensorFlowTracing
from ._batch import Batches, Making, given_of, loss_scale
from ._probe_pass import state_of


class Taken(NamedTuple):
    values: list[Any]
    scale: float
    data: Any


class TensorFlowBatches:
    def __init__(self, guard: Guard, tracing: TensorFlowTracing, batches: Batches) -> None:
        self._tracing, self._batches = tracing, batches
        self._guard = guard
        self._begin, self._end = guard(self._next_step), guard(self._look)
        self._take = guard(self._keep)
        self._wants = False
        self._taken: Taken | None = None

    def attach(self, patches: Patches) -> None:
        making, convert = Making(TensorFlowTrainer, patches), TensorFlowTrainer._autoconvert_optionals
        make = TensorFlowTrainer.make_train_function
        tapped = self._tapped

        @functools.wraps(convert)
        def _autoconvert_optionals(trainer: Any, step_function: Any) -> Any:
            converted = convert(trainer, step_function)
            return tapped(trainer, converted) if making.is_of(trainer) else converted

        @functools.wraps(make)
        def make_train_function(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            before = trainer.train_function
            made = make(trainer, *args, **kwargs)
            if trainer.train_function is not None and trainer.train_function is not before:
                trainer.train_function = self._watched(trainer, trainer.train_function)
            return made

        patches.replace(TensorFlowTrainer, "_autoconvert_optionals", _autoconvert_optionals)
        patches.replace(TensorFlowTrainer, "make_train_function", make_train_function)

    def _watched(self, trainer: Any, train_function: Any) -> Any:
        batches, windows, begin, end = self._batches, self._tracing.windows, self._begin, self._end

        def train(iterator: Any) -> Any:
            step = begin(trainer) if windows.sampled and batches.wants(trainer) else None
            batches.trains = True
            try:
                out = train_function(iterator)
            finally:
                batches.trains = False
            if step is not None:
                end(trainer, step)
            return out

        return train

    def _next_step(self, model: Any) -> int:
        self._tracing.fetch()
        self._wants, self._taken = True, None
        return self._batches.next_step(model)

    def _look(self, model: Any, step: int) -> None:
        taken, self._taken, self._wants = self._taken, None, False
        if taken is None or len(taken.values) != len(state_of(model)):  # it was not built before the step
            return
        seen = self._batches.look(model, step, given_of(*taken))
        if seen is not None:
            self._tracing.fetch()
            self._batches.send(model, seen)
            self._tracing.windows.spend_late(seen.seconds)

    def _tapped(self, trainer: Any, step: Any) -> Any:
        """`step`, before which its data are kept where they are wanted."""
        tap = self._guard(self._tap)

        @functools.wraps(step)
        def tapped(data: Any) -> Any:
            if tf.executing_eagerly():
                self._take(trainer, data)
                return step(data)
            tapping = tap(trainer, data)
            with tf.control_dependencies([] if tapping is None else [tapping]):
                return step(data)

        return tapped

    def _tap(self, trainer: Any, data: Any) -> Any:
        """In a graph: the operation that hands out the data at a sampled step."""
        leaves = keras.tree.flatten(data)
        plain = [leaf for leaf in leaves if isinstance(leaf, tf.Tensor)]
        if not self._tracing.watches() or not self._are_dense(leaves):
            return None

        def keep(*arrays: Any) -> Any:
            given = map(np.array, arrays)
            kept = keras.tree.map_structure(lambda x: next(given) if isinstance(x, tf.Tensor) else None, data)
            self._take(trainer, kept)
            return np.int32(0)

        return tf.cond(
            self._tracing.is_sampled() > 0,
            lambda: tf.numpy_function(keep, plain, tf.int32),
            lambda: tf.zeros([], tf.int32),
        )

    def _keep(self, model: Any, data: Any) -> None:
        """Of several steps of one call the first. What is written later is written elsewhere: TensorFlow does not
        write into a buffer that someone else holds."""
        if not self._wants or self._taken is not None or not self._are_dense(keras.tree.flatten(data)):
            return
        values = [tf.identity(variable.value) for variable in state_of(model)]
        self._taken = Taken(values, loss_scale(model, lambda variable: variable.numpy()), _tensors(data))

    def _are_dense(self, leaves: list[Any]) -> bool:
        others = (tf.RaggedTensor, tf.SparseTensor, tf.distribute.DistributedValues)
        if any(isinstance(leaf, others) for leaf in leaves):
            self._batches.say_unseen("Sparse, ragged and distributed batches are not looked at.")
            return False
        return True


def _tensors(data: Any) -> Any:
    return keras.tree.map_structure(lambda x: None if x is None else tf.convert_to_tensor(x), data)
