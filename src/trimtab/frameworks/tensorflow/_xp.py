"""The array namespace of policies over TensorFlow, inside a `tf.function` or outside of one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import tensorflow as tf

from ...policies import Axes, Namespace


class TensorflowNamespace:
    """`trimtab.policies.Namespace` over dense tensors."""

    def quiet(self) -> AbstractContextManager[object]:
        return nullcontext()

    def full(self, size: int, value: float) -> Any:
        return tf.fill([size], tf.constant(value, tf.float32))

    def arange(self, size: int) -> Any:
        return tf.range(size, dtype=tf.float32)

    def concat(self, arrays: Sequence[Any]) -> Any:
        return tf.concat(list(arrays), 0)

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        return tf.where(condition, x, tf.cast(y, x.dtype))

    def isfinite(self, x: Any) -> Any:
        return tf.math.is_finite(x)

    def minimum(self, x: Any, y: Any) -> Any:
        return tf.minimum(x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        return tf.maximum(x, y)

    def sqrt(self, x: Any) -> Any:
        return tf.sqrt(x)

    def log(self, x: Any) -> Any:
        return tf.math.log(x)

    def abs(self, x: Any) -> Any:
        return tf.abs(x)

    def sign(self, x: Any) -> Any:
        return tf.sign(x)

    def sort(self, x: Any) -> Any:
        return tf.sort(x)

    def sum(self, x: Any, axes: Axes | None = None) -> Any:
        return tf.reduce_sum(self.wide(x), axis=axes, keepdims=axes is not None)

    def sum_of_squares(self, x: Any, axes: Axes | None = None) -> Any:
        return tf.reduce_sum(tf.square(self.wide(x)), axis=axes, keepdims=axes is not None)

    def wide(self, x: Any) -> Any:
        return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)

    def like(self, x: Any, other: Any) -> Any:
        return tf.cast(x, other.dtype)


TENSORFLOW: Namespace = TensorflowNamespace()
