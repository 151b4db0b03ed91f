"""Policies on JAX: decided in the trace; a step to be left out is undone there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...policies._policy import scaled
from .._patches import Patches
from ..jax._norms import apart, norms
from ..jax._trace import is_outside
from ..jax._xp import JAX
from ._guarding import Decided
from ._memory import Memory
from ._memory_jax import Builds, VariableMemory
from ._taking import EagerHands, Tensors, after_leaving_out, changed_by_step


class JaxHands(EagerHands):
    xp = JAX
    _just_built: Any = None

    def norms(self, tensors: Tensors) -> Any:
        return norms(tensors)

    def apart(self, tensors: Tensors) -> Tensors:
        return tensors if is_outside() else apart(tensors)

    def number(self, x: Any) -> np.ndarray[Any, Any] | None:
        if isinstance(x, float):
            return np.asarray(x, np.float32)
        return None if isinstance(x, jax.core.Tracer) else np.asarray(x)

    def attach(self, patches: Patches, guard_of: Callable[[Any], Any]) -> None:
        self._builds = Builds(patches, self._while_built(guard_of))

    def made(self, optimizer: Any) -> None:
        self._builds.follow(type(optimizer))

    def memory(self, core: Any, start: np.ndarray[Any, Any]) -> Memory:
        if core is not self._just_built:
            raise TypeError("the optimizer had been built before it was to be guarded: guard it as soon as it is made")
        return VariableMemory(core, start)

    def _while_built(self, guard_of: Callable[[Any], Any]) -> Callable[[Any], None]:
        def built(core: Any) -> None:
            self._just_built = core
            guard_of(core)
            self._just_built = None

        return built

    def dense(self, gradient: Any) -> Any:
        return jnp.asarray(gradient)

    def changed(self, grads: Tensors, change: Callable[[Tensors], Tensors], touched: Any) -> Tensors:
        """They come out of a branch, of which XLA can't see the inside: joined with the optimizer's own operations,
        those of the policies would change how a step rounds that they leave alone."""
        if isinstance(touched, bool):
            return change(grads) if touched else grads
        given = [jnp.asarray(g) for g in grads]
        return list(jax.lax.cond(touched, lambda: change(given), lambda: given))

    def scaled(self, gradient: Any, factor: Any) -> Any:
        return scaled(gradient, jnp.asarray(factor), JAX)

    def keep(self, decided: Decided) -> list[tuple[Any, Any]]:
        """A loss scaler's step comes without variables, and gives what it makes of their values."""
        if decided.is_concrete and not decided.given.is_withholding:
            return []
        return [(v, v.value) for v in changed_by_step(decided)]

    def take(self, decided: Decided, call: Callable[[], Any]) -> Any:
        return call() if decided.kept else super().take(decided, call)

    def undo(self, decided: Decided) -> None:
        """By a branch, of which XLA can't see the inside: a choice that it could join with the update would change how
        the update rounds."""
        if not decided.kept:
            return
        left = [after_leaving_out(decided.given, v, before) for v, before in decided.kept]
        new = [v.value for v, _ in decided.kept]
        chosen = jax.lax.cond(decided.skip, lambda: left, lambda: new)
        for (variable, _), value in zip(decided.kept, chosen, strict=True):
            variable.assign(value)
