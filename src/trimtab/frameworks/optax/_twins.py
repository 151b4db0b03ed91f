"""Units of the first weights that are alike: read once, on the host, where a training begins."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._facts import twin_units
from ._names import named_leaves

# Larger tensors are not copied to the host.
MOST_ENTRIES = 1 << 24

# Of these the units are on the first axis: equinox's layers, and rows of embeddings.
_UNITS_FIRST = ("weight", "embedding")


def first_twins(params: Any) -> dict[str, float | None]:
    """The share of units that equal another, by the tensor's name; empty where the weights are but traced."""
    names, weights = named_leaves(params)
    if any(isinstance(weight, jax.core.Tracer) for weight in weights):
        return {}
    return {name: _twins(name, weight) for name, weight in zip(names, weights, strict=True)}


def _twins(name: str, weight: Any) -> float | None:
    if jnp.ndim(weight) < 2 or math.prod(jnp.shape(weight)) > MOST_ENTRIES:
        return None
    return twin_units(np.asarray(weight), 0 if name.rpartition("/")[2] in _UNITS_FIRST else -1)
