"""Values of Keras variables: inside of a step, and on the host's side of it."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from keras.src import backend


def current(variable: Any) -> Any:
    """The value as a tensor that stays as it is, whatever is assigned later."""
    if backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(getattr(variable, "value", variable))
    return variable.value


def on_host(variable: Any) -> np.ndarray[Any, Any] | None:
    """The values outside of the trace that is under way, float32; None where they cannot be had."""
    try:
        if backend.backend() == "tensorflow":
            import tensorflow as tf

            with tf.init_scope():
                return np.asarray(getattr(variable, "value", variable).numpy(), dtype=np.float32)
        value = variable._value
        return None if value is None else np.asarray(value, dtype=np.float32)
    except Exception:  # not made yet, or given away to a step under way
        return None


def moments_of(optimizer: Any, variables: list[Any]) -> list[Any]:
    """Variables of the second moments of an Adam-like optimizer; none of others."""
    held, beta = getattr(optimizer, "_velocities", None), getattr(optimizer, "beta_2", None)
    if not held or not isinstance(beta, int | float):
        return []
    found = [held[optimizer._get_variable_index(v)] for v in variables]
    return [] if any(v is None for v in found) else found


def size_of(variable: Any) -> int:
    """Entries."""
    return math.prod(int(n) for n in variable.shape)


def unrecorded() -> AbstractContextManager[Any]:
    """What is computed within is not part of what the script differentiates."""
    if backend.backend() != "tensorflow":
        return nullcontext()
    from ..tensorflow._internals import stop_recording

    stopped: AbstractContextManager[Any] = stop_recording()
    return stopped
