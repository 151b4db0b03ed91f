"""What policies remember on JAX: it goes through a jitted step as all that an optimizer keeps does, as one more of its
variables, of which no saved file learns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import keras
import numpy as np
from keras.src.optimizers.base_optimizer import BaseOptimizer

from .._patches import Patches

HAND_ON = (keras.optimizers.MultiOptimizer, keras.optimizers.LossScaleOptimizer)


class VariableMemory:
    """The last variable of an optimizer that has just been built."""

    #: By the optimizer.
    every: ClassVar[WeakKeyDictionary[Any, VariableMemory]] = WeakKeyDictionary()

    def __init__(self, core: Any, start: np.ndarray[Any, Any]) -> None:
        self.variable = core.add_variable(
            start.shape, initializer=lambda shape, dtype=None: start, dtype="float32", name="trimtab_guard"
        )
        self.every[core] = self

    def read(self) -> Any:
        return self.variable.value

    def write(self, vector: Any) -> None:
        self.variable.assign(vector)


class Builds:
    """Calls `built` with every optimizer that has just been built, before anybody can have taken its variables; an
    optimizer that hands on to others is not meant."""

    def __init__(self, patches: Patches, built: Callable[[Any], None]) -> None:
        self._patches = patches
        self._built = built
        self._wrapped: set[type] = set()
        self._under_way: set[int] = set()
        for name in ("save_own_variables", "load_own_variables"):
            patches.replace(BaseOptimizer, name, _without_memory(vars(BaseOptimizer)[name]))

    def follow(self, kind: type) -> None:
        """Optimizers of this class will be built."""
        for owner in kind.__mro__:
            if "build" in vars(owner) and owner not in self._wrapped and issubclass(owner, BaseOptimizer):
                self._wrapped.add(owner)
                self._patches.replace(owner, "build", self._wrap(vars(owner)["build"]))

    def _wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def build(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            if id(optimizer) in self._under_way or isinstance(optimizer, HAND_ON):
                return original(optimizer, *args, **kwargs)
            self._under_way.add(id(optimizer))
            try:
                result = original(optimizer, *args, **kwargs)
            finally:
                self._under_way.discard(id(optimizer))
            self._built(optimizer)
            return result

        return build


def _without_memory(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def own_variables(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        with _hidden():
            return original(optimizer, *args, **kwargs)

    return own_variables


@contextmanager
def _hidden() -> Iterator[None]:
    """No optimizer has a variable of ours."""
    taken = []
    for core, memory in VariableMemory.every.items():
        places = [place for place, v in enumerate(core._variables) if v is memory.variable]
        taken += [(core._variables, place, core._variables.pop(place)) for place in places]
    try:
        yield
    finally:
        for variables, place, variable in taken:
            variables.insert(place, variable)
