"""Norms inside a step against NumPy in double precision."""

from __future__ import annotations

from typing import Any

import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from trimtab.frameworks.jax._norms import apart, norms  # noqa: E402

SHAPES = [(), (1,), (7,), (100_000,), (64, 513), (3, 3, 16, 32), (0,), (2, 0)]


@pytest.mark.parametrize("size", [1.0, 1e30, 1e-30, 1e-38])
@pytest.mark.parametrize("jit", [False, True])
def test_equal_to_numpy(size: float, jit: bool) -> None:
    random = np.random.default_rng(0)
    arrays = [np.asarray(random.normal(size=shape) * size, np.float32) for shape in SHAPES]
    found = (jax.jit(norms) if jit else norms)([jnp.asarray(a) for a in arrays])
    expected = [np.linalg.norm(a.astype(np.float64)) for a in arrays]
    # XLA takes numbers under 1.2e-38 for 0.
    np.testing.assert_allclose(found, expected, rtol=1e-5 if size > 1e-38 else 1, atol=1e-37 if size < 1e-37 else 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.complex64])
def test_other_numbers(dtype: Any) -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 70)) * 200, dtype)
    expected = np.linalg.norm(np.asarray(x).astype(complex if dtype == jnp.complex64 else float))
    np.testing.assert_allclose(norms([x])[0], expected, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_where_an_entry_is(bad: float) -> None:
    found = norms([jnp.ones(3), jnp.asarray([1.0, bad, 1e30]), jnp.full(9, 3e38), jnp.zeros(4)])
    assert np.isfinite(found).tolist() == [True, False, True, True]
    assert np.isnan(found[1]) == np.isnan(bad)


def test_apart_has_the_same_bits() -> None:
    arrays = [
        jnp.asarray([np.nan, -0.0, 1e-40, np.inf]),
        jnp.arange(3),
        jnp.ones((300, 300)),
        jnp.ones(2, jnp.bfloat16),
    ]
    for before, after in zip(arrays, jax.jit(apart)(arrays), strict=True):
        assert before.dtype == after.dtype
        assert np.asarray(before).tobytes() == np.asarray(after).tobytes()
