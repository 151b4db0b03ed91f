"""Measuring inside JAX's steps: what `frameworks/_tracing.py` asks for, and records of any arrays."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._tracing import Receive
from ._carry import Carry
from ._norms import apart, norms
from ._scope import Record, enclosing, innermost
from ._trace import is_outside
from ._windows import Windows


class JaxTracing:
    """In a jitted function records leave as outputs, in the order of the calls.

    Inside of scans, branches, loops and vmap, in `pmap`, and where `lower` and `trace` were used, they leave by
    `jax.debug.callback`: in order among themselves on one device, but not with those that left as outputs; and the
    flag is not known there, so that nothing is sampled.
    """

    def __init__(self, windows: Windows, jit: Callable[..., Any]) -> None:
        self._windows = windows
        self._norms = jit(norms)

    def emit(self, receive: Receive, vector: Any) -> None:
        """See `Tracing`. A `receive` that compares equal to another stands for the same optimizer."""
        self.put(_AsNumPy(receive), vector)

    def put(self, receive: Callable[[Any], None], arrays: Any, *, ends_step: bool = True) -> None:
        """As `emit`, of any pytree of arrays, which `receive` gets as they are, ready to be read."""
        self._windows.put(Record(receive, arrays, ends_step))

    @property
    def carry(self) -> Carry:
        """Arrays from step to step."""
        return self._windows.carry

    @property
    def record_time(self) -> float:
        """When the record that is being received now arrived, on the clock of time.monotonic()."""
        return self._windows.record_time

    def norms(self, tensors: list[Any]) -> Any:
        return self._norms(tensors) if is_outside() else norms(tensors)

    def apart(self, tensors: list[Any]) -> list[Any]:
        """The same values for a measurement, which then changes nothing in how the step rounds."""
        return tensors if is_outside() else apart(tensors)

    @property
    def inputs(self) -> dict[int, Any]:
        """Of the sampled call whose record is being received: the arguments that its `wanted` names, by their place."""
        return self._windows.inputs

    @property
    def outputs(self) -> list[Any]:
        """The leaves of what that call returned."""
        return self._windows.outputs

    def when_sampled(self, measure: Callable[[], Any], size: int) -> Any:
        scope = innermost()
        if scope is None and is_outside():
            return self._measure_now(measure) if self._windows.is_sampled else np.full(size, np.nan, np.float32)
        if scope is None:
            return jnp.full(size, jnp.nan, jnp.float32)
        return jax.lax.cond(
            scope.flag,
            lambda: jnp.asarray(measure(), jnp.float32).reshape(size),
            lambda: jnp.full(size, jnp.nan, jnp.float32),
        )

    def is_sampled(self) -> Any:
        scope = innermost()
        if scope is not None:
            return jnp.asarray(scope.flag, jnp.float32)
        return float(self._windows.is_sampled and is_outside())

    def flag_around(self) -> Any:
        """The flag of a trace that begins now, directly inside of one that knows it."""
        scope = enclosing()
        return np.bool_(self._windows.is_sampled) if scope is None else scope.flag

    def spend(self, seconds: float) -> None:
        """So much time went into measuring the window that is under way, or the next."""
        self._windows.measuring_seconds += seconds

    def restart(self, windows: int = 1) -> None:
        self._windows.restart(windows)

    def fetch(self) -> None:
        self._windows.fetch()

    def _measure_now(self, measure: Callable[[], Any]) -> Any:
        began = perf_counter()
        measured = jax.block_until_ready(measure())  # type: ignore[no-untyped-call]
        self._windows.measuring_seconds += perf_counter() - began
        return measured


class _AsNumPy:
    """Hands an array over as NumPy's."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.optimizer = receive
        self.__name__ = getattr(receive, "__name__", "receive")

    def __call__(self, array: Any) -> None:
        self._receive(np.asarray(array))
