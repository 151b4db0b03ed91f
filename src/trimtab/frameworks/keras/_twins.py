"""Units that begin as copies of each other, with the same incoming weights."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from keras.src.optimizers.base_optimizer import BaseOptimizer

from .. import _facts
from .._guard import Guard
from .._patches import Patches
from ._values import on_host, size_of

#: Of all weights of an optimizer, so many entries are looked at.
MOST_ENTRIES = 1 << 26


class FirstWeights:
    """Looks at the weights when an optimizer is built for them: JAX' trainer takes them away before the first step."""

    def __init__(self, guard: Guard, patches: Patches) -> None:
        self._found: WeakKeyDictionary[Any, list[float | None]] = WeakKeyDictionary()
        original, note = BaseOptimizer.build, guard(self._look)

        @functools.wraps(original)
        def build(optimizer: Any, variables: Any) -> Any:
            built = original(optimizer, variables)
            note(optimizer, variables)
            return built

        patches.replace(BaseOptimizer, "build", build)

    def twin_units(self, optimizer: Any) -> list[float | None] | None:
        """`twin_units` of each of its variables, once."""
        return self._found.pop(optimizer, None)

    def _look(self, optimizer: Any, variables: Sequence[Any]) -> None:
        room, found = MOST_ENTRIES, []
        for variable in variables:
            room -= size_of(variable)
            found.append(twin_units(variable) if room >= 0 else None)
        self._found[optimizer] = found


def twin_units(variable: Any) -> float | None:
    """Share of a weight's units that begin as copies of another one; None where its values are not at hand."""
    weight = on_host(variable) if len(variable.shape) > 1 else None
    return None if weight is None else _facts.twin_units(weight, unit_axis=0 if is_table(variable) else -1)


def is_table(variable: Any) -> bool:
    """Its units are its rows: so they are in an embedding, and on the last axis of every kernel of Keras' layers."""
    return str(getattr(variable, "name", "")).startswith("embeddings")
