"""2-norms of many tensors inside a step: one read of their bytes, and another only where squares leave float32."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Between them a sum of squares in float32 has kept its digits.
_SAFE_SQUARES = (1e-28, 1e37)


_LIMITS = np.finfo(np.float32)
_INTEGERS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}

# Of tensors of at most so many entries `apart` takes copies.
FEW_ENTRIES = 65_536


def norms(tensors: list[Any]) -> Any:
    """Float32, shape (n,); NaN or infinite if and only if an entry is. A norm beyond float32 is its largest number."""
    if not tensors:
        return jnp.zeros(0, jnp.float32)
    squares = jnp.stack([_sum_of_squares(_real(tensor)) for tensor in tensors])
    safe = (squares > _SAFE_SQUARES[0]) & (squares < _SAFE_SQUARES[1])
    again = apart(tensors)
    return jax.lax.cond(
        jnp.all(safe),
        lambda: jnp.sqrt(squares),
        lambda: jnp.where(safe, jnp.sqrt(squares), jnp.stack([_scaled_norm(_real(tensor)) for tensor in again])),
    )


def apart(tensors: list[Any]) -> list[Any]:
    """The same values, for use in a branch or any other operation of which XLA can't see the inside.

    Handed over as they are, they would be computed apart from the operations of the script that use them, whose
    multiplications and additions XLA then joins in another way, and rounds in another. The large ones come from
    operations that are computed apart in any case (matrix products, convolutions, scatters).
    """
    disguised = [_as_integers(tensor) for tensor in tensors]
    beyond = jax.lax.optimization_barrier(tuple(disguised))  # type: ignore[no-untyped-call]
    return [_as_it_was(each, tensor) for each, tensor in zip(beyond, tensors, strict=True)]


def _as_integers(x: Any) -> Any:
    """The bits of few floats: an operation on each entry, which XLA moves with those around it."""
    bits = _INTEGERS.get(jnp.result_type(x).itemsize)
    small = jnp.size(x) <= FEW_ENTRIES and jnp.issubdtype(jnp.result_type(x), jnp.floating)
    return jax.lax.bitcast_convert_type(x, bits) if small and bits is not None else x


def _as_it_was(bits: Any, x: Any) -> Any:
    dtype = jnp.result_type(x)
    return bits if bits.dtype == dtype else jax.lax.bitcast_convert_type(bits, dtype)


def _sum_of_squares(x: Any) -> Any:
    """The last axis first: XLA on a CPU sums all axes at once five times as slowly."""
    squares = jnp.square(x.astype(jnp.float32))
    return jnp.sum(jnp.sum(squares, axis=-1)) if x.ndim else squares


def _scaled_norm(x: Any) -> Any:
    if not x.size:
        return jnp.float32(0)
    largest = jnp.max(jnp.abs(x)).astype(jnp.float32)
    normal = (largest >= _LIMITS.tiny) & (largest <= _LIMITS.max)  # what is less, XLA takes for 0 and divides by it
    whole = jnp.where(normal, largest, 1)
    norm = whole * jnp.sqrt(_sum_of_squares(x.astype(jnp.float32) / whole))
    return jnp.where(normal, jnp.minimum(norm, _LIMITS.max), jnp.where(largest < _LIMITS.tiny, 0, largest))


def _real(x: Any) -> Any:
    """The same numbers with the same 2-norm."""
    return jnp.stack([x.real, x.imag]) if jnp.iscomplexobj(x) else jnp.asarray(x)
