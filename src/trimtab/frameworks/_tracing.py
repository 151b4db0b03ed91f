"""What a framework with traced steps offers to those who measure inside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Receive = Callable[[np.ndarray[Any, Any]], None]


class Tracing(Protocol):
    """Measuring inside of a step that may be traced (`jax.jit`, `tf.function`) or run eagerly.

    Tensors are the framework's own. Nothing here changes a bit of what the step computes, or makes it wait.
    """

    def emit(self, receive: Receive, vector: Any) -> None:
        """Have `receive` called on the host with `vector` (float32, one axis): once per execution of the step that is
        being traced now, in the order of the executions, a few steps late at most (at once if run eagerly)."""

    def norms(self, tensors: list[Any]) -> Any:
        """Their 2-norms, float32 of shape (n,): from float32 squares, recomputed scaled by the largest |x| where these
        overflow or underflow; NaN or infinite if and only if an entry is. Sparse ones by their summed values."""

    def apart(self, tensors: list[Any]) -> list[Any]:
        """The same values, for use in `when_sampled`, once for each tensor: a compiler joins operations, and so rounds
        their results, by who reads them, and does not see these readers."""

    def when_sampled(self, measure: Callable[[], Any], size: int) -> Any:
        """`measure()`, float32 of shape (size,), at a sampled step; `size` NaNs at others, at no cost worth the name.
        `measure` is called where the step is traced, and must not write."""

    def is_sampled(self) -> Any:
        """1.0 at a sampled step, else 0.0; inside a trace a traced scalar."""

    def restart(self, windows: int = 1) -> None:
        """A training begins, or a window that was sampled held no whole step: sample the next `windows`."""

    def fetch(self) -> None:
        """Have `receive` called with all that has been executed: waits for it."""
