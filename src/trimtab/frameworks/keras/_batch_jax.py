"""JAX: batch and weights are arguments of the jitted step. It may overwrite them, so that they are looked at before."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras.src.backend.jax.trainer import JAXTrainer

from .._guard import Guard
from .._patches import Patches
from ..jax._tracing import JaxTracing
from ._batch import Batches, Making, Seen, given_of, loss_scale


class JaxBatches:
    def __init__(self, guard: Guard, tracing: JaxTracing, batches: Batches) -> None:
        self._tracing, self._batches = tracing, batches
        self._before, self._after = guard(self._look), guard(batches.send)

    def attach(self, patches: Patches) -> None:
        making, original = Making(JAXTrainer, patches), JAXTrainer._make_function

        @functools.wraps(original)
        def _make_function(trainer: Any, step_function: Any, *args: Any, **kwargs: Any) -> Any:
            if making.is_of(trainer):
                step_function = self._watched(trainer, step_function)
            return original(trainer, step_function, *args, **kwargs)

        patches.replace(JAXTrainer, "_make_function", _make_function)

    def _watched(self, trainer: Any, step_function: Any) -> Any:
        batches, before, after, flag = self._batches, self._before, self._after, self._tracing.flag_around

        def step(state: Any, data: Any) -> Any:
            seen = before(trainer, state, data) if flag() and batches.wants(trainer) else None
            batches.trains = True
            try:
                stepped = step_function(state, data)
            finally:
                batches.trains = False
            if seen is not None:
                after(trainer, seen)
            return stepped

        return step

    def _look(self, model: Any, state: Any, data: Any) -> Seen | None:
        trainable, fixed, of_optimizer, metrics = state
        self._tracing.fetch()
        values = {id(v): value for v, value in zip(model.optimizer.variables, of_optimizer, strict=True)}
        scale = loss_scale(model, lambda variable: values[id(variable)])
        given = given_of([*trainable, *fixed, *metrics], scale, data)
        given = keras.tree.map_structure(lambda x: None if x is None else keras.ops.convert_to_tensor(x), given)
        seen = self._batches.look(model, self._batches.next_step(model), given)
        if seen is not None:
            self._tracing.spend(seen.seconds)
        return seen
