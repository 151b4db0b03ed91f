"""2-norms of tensors inside a traced step."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ._internals import barrier, is_eager, is_xla

# Below it entries whose squares underflow may count; above float32's range a norm is infinite.
SMALLEST_SAFE_NORM = 1e-12
_LARGEST = tf.float32.max

# Of tensors of at most so many entries `apart` takes copies.
FEW_ENTRIES = 65_536


def norms(tensors: list[Any]) -> Any:
    """2-norms, float32 of shape (n,); NaN or infinite if and only if an entry is.

    From sums of squares; where one of these overflows or underflows, that tensor is read again, scaled by its
    largest |x|. A norm beyond float32's range is its largest number.
    """
    if not tensors:
        return tf.zeros([0])
    values = [dense_values(tensor) for tensor in tensors]
    compiled = not is_eager() and is_xla()
    half_of_squares = _half_of_squares_compiled if compiled else tf.nn.l2_loss
    quick = tf.sqrt(2 * tf.stack([tf.cast(half_of_squares(v), tf.float32) for v in values]))
    doubtful = tf.logical_or(quick < SMALLEST_SAFE_NORM, tf.math.is_inf(quick))

    def carefully() -> Any:
        parts = [v if compiled else _if(doubtful[i], v) for i, v in enumerate(values)]
        return tf.where(doubtful, tf.stack([_careful_norm(part) for part in parts]), quick)

    return tf.cond(tf.reduce_any(doubtful), carefully, lambda: quick)


def apart(tensors: list[Any]) -> list[Any]:
    """The same values, for use in `norms` and in a branch.

    Handed over as they are, XLA would compute them apart from the script's operations that use them too, whose
    multiplications and additions it then joins in another way, and rounds in another. The large ones come from
    operations that are computed apart in any case (matrix products, convolutions).
    """
    dense = [tensor for tensor in tensors if isinstance(tensor, tf.Tensor)]
    if not dense or is_eager() or not is_xla():
        return tensors
    beyond = iter(barrier([_as_integers(tensor) for tensor in dense]))
    return [tf.bitcast(next(beyond), t.dtype) if isinstance(t, tf.Tensor) else t for t in tensors]


def _as_integers(x: Any) -> Any:
    """The bits of few floats: an operation on each entry, which XLA moves with those around it."""
    few = x.shape.num_elements() is not None and x.shape.num_elements() <= FEW_ENTRIES
    bits = {2: tf.uint16, 4: tf.int32, 8: tf.int64}.get(x.dtype.size)
    return tf.bitcast(x, bits) if few and bits is not None and x.dtype.is_floating else x


def dense_values(tensor: Any) -> Any:
    """The entries as float32 or float64; of a sparse gradient, with repeated indices summed, those that it has."""
    if isinstance(tensor, tf.IndexedSlices):
        tensor = _summed(tensor)
    tensor = tf.convert_to_tensor(tensor)
    if tensor.dtype.is_complex:
        tensor = tf.abs(tensor)
    return tensor if tensor.dtype in (tf.float32, tf.float64) else tf.cast(tensor, tf.float32)


def _summed(slices: Any) -> Any:
    """A row for each row of `slices`: the sum of those with the same index, or zeros. Sorting serves for this where
    tf.unique cannot be compiled."""
    values, indices = slices.values, slices.indices
    if values.dtype in (tf.float16, tf.bfloat16):
        values = tf.cast(values, tf.float32)
    order = tf.argsort(indices, stable=True)
    ordered = tf.gather(indices, order)
    is_next = tf.concat([tf.zeros_like(ordered[:1], tf.int32), tf.cast(ordered[1:] != ordered[:-1], tf.int32)], 0)
    return tf.math.unsorted_segment_sum(tf.gather(values, order), tf.cumsum(is_next), tf.shape(indices)[0])


def _half_of_squares_compiled(values: Any) -> Any:
    """Half the sum of squares, over all axes but the last first: XLA adds columns in vectors, but one long row entry by
    entry. The maximum changes nothing; without it XLA would make one sum of the two."""
    if values.shape.rank is None or values.shape.rank < 2:
        return tf.reduce_sum(tf.square(values)) / 2
    columns = tf.reduce_sum(tf.square(values), axis=list(range(values.shape.rank - 1)))
    return tf.reduce_sum(tf.maximum(columns, 0)) / 2


def _if(wanted: Any, values: Any) -> Any:
    """`values` laid end to end; none of them where they are not wanted, so that reading them costs nothing."""
    flat = tf.reshape(values, [-1])
    return flat[: tf.where(wanted, tf.size(flat), 0)]


def _careful_norm(values: Any) -> Any:
    largest = tf.maximum(tf.reduce_max(tf.abs(values)), 0)  # of no values it would be -inf
    divisor = tf.where(tf.logical_and(largest > 0, tf.math.is_finite(largest)), largest, tf.ones_like(largest))
    norm = tf.cast(largest * tf.sqrt(tf.reduce_sum(tf.square(values / divisor))), tf.float32)
    return tf.where(tf.math.is_finite(largest), tf.minimum(norm, _LARGEST), norm)
