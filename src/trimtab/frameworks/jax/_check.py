"""Whether what we rely on is there in the installed JAX, public or not."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from . import _trace
from ._jit import WatchedJit
from ._scope import Record
from ._windows import Windows


def check_hook_points() -> list[tuple[str, bool, str]]:
    """(name, is it there, detail) for each."""
    known = _trace.is_known()
    return [
        ("jax", True, jax.__version__),
        ("current trace", known, "get_opaque_trace_state" if known else "missing: records leave by slower callbacks"),
        ("records of a jitted step", _records_leave(), "as outputs beside its own"),
        *((name, hasattr(jax, name), f"jax.{name}") for name in ("value_and_grad", "grad")),
        ("callbacks", hasattr(jax.debug, "callback"), "jax.debug.callback"),
    ]


def _records_leave() -> bool:
    """Tried on a small function."""
    kept: list[Record] = []

    class Kept(Windows):
        def _arrived(self, records: Sequence[Record]) -> None:
            kept.extend(records)

    windows = Kept()
    windows.received = windows._receive

    def step(x: jax.Array) -> jax.Array:
        windows.put(Record(kept.append, x + 1, True))
        return x

    WatchedJit(jax.jit, jax.jit(step), step, {}, windows)(jnp.float32(1))
    return [float(record.arrays) for record in kept] == [2.0]
