"""The array namespace in which policies are written: a few functions that mean the same on every kind of array.

Arrays are the framework's own. Besides these functions policies use operators (`+ - * / & | ~ < >`), indexing and
`.shape`, which agree already. Floats of Python take the array's dtype. Nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

Array = Any
Axes = tuple[int, ...]


class Namespace(Protocol):
    """NaN and infinities go through as IEEE 754 has it, without a warning inside `quiet`."""

    def quiet(self) -> AbstractContextManager[object]:
        """Within this block invalid operations warn nobody."""

    def full(self, size: int, value: float) -> Array:
        """Float32, shape (size,), on the device of the gradients."""

    def arange(self, size: int) -> Array:
        """0, 1, ..., size - 1 as float32."""

    def concat(self, arrays: Sequence[Array]) -> Array:
        """Laid end to end along the first axis; at least one."""

    def where(self, condition: Array, x: Array, y: Array | float) -> Array:
        """`x` where the condition holds, else `y`, even where the other is NaN; broadcast, in x's dtype."""

    def isfinite(self, x: Array) -> Array:
        """False where an entry is NaN or infinite."""

    def minimum(self, x: Array, y: Array | float) -> Array:
        """The lesser; NaN where one of them is."""

    def maximum(self, x: Array, y: Array | float) -> Array:
        """The greater; NaN where one of them is."""

    def sqrt(self, x: Array) -> Array: ...

    def log(self, x: Array) -> Array:
        """Natural; of 0 minus infinity."""

    def abs(self, x: Array) -> Array: ...

    def sign(self, x: Array) -> Array:
        """-1, 0 or 1; of NaN NaN."""

    def sort(self, x: Array) -> Array:
        """One axis, ascending, infinities included; without NaN, whose place differs."""

    def sum(self, x: Array, axes: Axes | None = None) -> Array:
        """In float32 or wider, of nothing 0. Over all axes, shape (); over `axes`, at least one, kept at length 1."""

    def sum_of_squares(self, x: Array, axes: Axes | None = None) -> Array:
        """As `sum`, of the squares; beyond the dtype's range infinite."""

    def wide(self, x: Array) -> Array:
        """The same numbers in float32, or float64 if they were."""

    def like(self, x: Array, other: Array) -> Array:
        """The same numbers rounded to the dtype of `other`."""


class NumpyNamespace:
    """`Namespace` over NumPy: for policies on the host, and what the others are tested against."""

    def quiet(self) -> AbstractContextManager[object]:
        return np.errstate(all="ignore")

    def full(self, size: int, value: float) -> Array:
        return np.full(size, value, np.float32)

    def arange(self, size: int) -> Array:
        return np.arange(size, dtype=np.float32)

    def concat(self, arrays: Sequence[Array]) -> Array:
        return np.concatenate(list(arrays))

    def where(self, condition: Array, x: Array, y: Array | float) -> Array:
        if isinstance(condition, np.bool_) and isinstance(x, np.generic) and np.isscalar(y):
            return x if condition else x.dtype.type(y)  # a tenth of the time
        return np.where(condition, x, np.asarray(y, np.asarray(x).dtype))

    def isfinite(self, x: Array) -> Array:
        return np.isfinite(x)

    def minimum(self, x: Array, y: Array | float) -> Array:
        return np.minimum(x, y)

    def maximum(self, x: Array, y: Array | float) -> Array:
        return np.maximum(x, y)

    def sqrt(self, x: Array) -> Array:
        return np.sqrt(x)

    def log(self, x: Array) -> Array:
        return np.log(x)

    def abs(self, x: Array) -> Array:
        return np.abs(x)

    def sign(self, x: Array) -> Array:
        return np.sign(x)

    def sort(self, x: Array) -> Array:
        return np.sort(x)

    def sum(self, x: Array, axes: Axes | None = None) -> Array:
        if axes is None and x.ndim == 1 and x.dtype == np.float32:
            return np.add.reduce(x)  # the same sum, a third of the time
        return np.sum(self.wide(x), axis=axes, keepdims=axes is not None)

    def sum_of_squares(self, x: Array, axes: Axes | None = None) -> Array:
        return np.sum(np.square(self.wide(x)), axis=axes, keepdims=axes is not None)

    def wide(self, x: Array) -> Array:
        return x if x.dtype == np.float64 else x.astype(np.float32, copy=False)

    def like(self, x: Array, other: Array) -> Array:
        return x.astype(other.dtype, copy=False)


NUMPY: Namespace = NumpyNamespace()
