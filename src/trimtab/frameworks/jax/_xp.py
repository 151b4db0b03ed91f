"""The array namespace of policies over JAX, inside a traced step or outside of one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import jax.numpy as jnp
from jax import Array

from ...policies import Axes, Namespace


class JaxNamespace:
    """`trimtab.policies.Namespace`. In a compiled step numbers under 1.2e-38 count as 0."""

    def quiet(self) -> AbstractContextManager[object]:
        return nullcontext()

    def full(self, size: int, value: float) -> Array:
        return jnp.full(size, value, jnp.float32)

    def arange(self, size: int) -> Array:
        return jnp.arange(size, dtype=jnp.float32)

    def concat(self, arrays: Sequence[Array]) -> Array:
        return jnp.concatenate(list(arrays))

    def where(self, condition: Array, x: Array, y: Array | float) -> Array:
        return jnp.where(condition, x, y)

    def isfinite(self, x: Array) -> Array:
        return jnp.isfinite(x)

    def minimum(self, x: Array, y: Array | float) -> Array:
        return jnp.minimum(x, y)

    def maximum(self, x: Array, y: Array | float) -> Array:
        return jnp.maximum(x, y)

    def sqrt(self, x: Array) -> Array:
        return jnp.sqrt(x)

    def log(self, x: Array) -> Array:
        return jnp.log(x)

    def abs(self, x: Array) -> Array:
        return jnp.abs(x)

    def sign(self, x: Array) -> Array:
        return jnp.sign(x)

    def sort(self, x: Array) -> Array:
        return jnp.sort(x)

    def sum(self, x: Array, axes: Axes | None = None) -> Array:
        return _sum(self.wide(x), axes)

    def sum_of_squares(self, x: Array, axes: Axes | None = None) -> Array:
        return _sum(jnp.square(self.wide(x)), axes)

    def wide(self, x: Array) -> Array:
        return x if x.dtype == jnp.float64 else x.astype(jnp.float32)

    def like(self, x: Array, other: Array) -> Array:
        return x.astype(other.dtype)


def _sum(x: Array, axes: Axes | None) -> Array:
    """The last axis first: XLA on a CPU sums all axes at once five times as slowly."""
    if axes is not None:
        return jnp.sum(x, axis=axes, keepdims=True)
    return jnp.sum(jnp.sum(x, axis=-1)) if x.ndim else x


JAX: Namespace = JaxNamespace()
