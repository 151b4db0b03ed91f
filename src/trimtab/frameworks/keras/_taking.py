"""Steps that may be left out: what the backends have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from .._patches import Patches
from ._given import Given
from ._guarding import Decided

Tensors = list[Any]


class EagerHands:
    """Where steps are run at once: what was decided is known on the host, and a step left out is not called."""

    def replicates(self) -> bool:
        return False

    def attach(self, patches: Patches, guard_of: Callable[[Any], Any]) -> None: ...

    def made(self, optimizer: Any) -> None: ...

    def keep(self, decided: Decided) -> list[tuple[Any, Any]]:
        return []

    def take(self, decided: Decided, call: Callable[[], Any]) -> Any:
        if not decided.skip:
            return call()
        forget_accumulated(decided.given)
        return None

    def undo(self, decided: Decided) -> None:
        """Nothing was done."""


def forget_accumulated(given: Given) -> None:
    """A step is left out, of which gradients were put by."""
    if given.core.gradient_accumulation_steps:
        for variable in (given.core._iterations, *_accumulators(given)):
            variable.assign(after_leaving_out(given, variable, variable))


def changed_by_step(decided: Decided) -> list[Any]:
    """All variables that a step may change: the optimizer's, but for what policies remember in one, and the weights."""
    given = decided.given
    memory = getattr(decided.memory, "variable", None)
    every = [*given.optimizer.variables, *given.core._trainable_variables, *given.variables]
    return list({id(v): v for v in every if v is not memory}.values())


def after_leaving_out(given: Given, variable: Any, before: Any) -> Any:
    """What `variable`, `before` it, is after a step that was left out. That began when the first of its gradients was
    put by."""
    every = given.core.gradient_accumulation_steps
    if every and variable is given.core._iterations:
        return ops.subtract(before, every - 1)
    if any(variable is waiting for waiting in _accumulators(given)):
        return ops.zeros(variable.shape, dtype=variable.dtype)
    return before


def _accumulators(given: Given) -> list[Any]:
    found = getattr(given.core, "_accumulated_gradients", None)
    return [variable for variable in found or [] if variable is not None]
