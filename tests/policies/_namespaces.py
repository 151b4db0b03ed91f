"""The four array namespaces, each with its way to and from NumPy, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from trimtab.policies import NUMPY, Namespace


class Kind(NamedTuple):
    xp: Namespace
    give: Callable[[Any], Any]
    compiled: Callable[[Callable[..., Any]], Callable[..., Any]]


def back(x: Any) -> np.ndarray[Any, Any]:
    """As NumPy; what NumPy has no dtype for in float32."""
    try:
        array = np.asarray(x)
    except TypeError:  # bfloat16 of torch
        array = x.float().numpy()
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def torch_kind() -> Kind:
    torch = pytest.importorskip("torch")
    from trimtab.frameworks.torch._xp import TorchNamespace

    return Kind(TorchNamespace(torch.device("cpu")), lambda a: torch.tensor(np.asarray(a)), lambda f: f)


def jax_kind() -> Kind:
    jax = pytest.importorskip("jax")
    from trimtab.frameworks.jax._xp import JAX

    return Kind(JAX, lambda a: jax.numpy.asarray(np.asarray(a)), jax.jit)


def tensorflow_kind() -> Kind:
    tf = pytest.importorskip("tensorflow")
    from trimtab.frameworks.tensorflow._xp import TENSORFLOW

    return Kind(TENSORFLOW, lambda a: tf.constant(np.asarray(a)), lambda f: tf.function(f, reduce_retracing=True))


def numpy_kind() -> Kind:
    return Kind(NUMPY, np.asarray, lambda f: f)


KINDS = {"numpy": numpy_kind, "torch": torch_kind, "jax": jax_kind, "tensorflow": tensorflow_kind}
