"""Norms inside a step against NumPy in float64, where float32 squares overflow and underflow too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from trimtab.frameworks.tensorflow._norms import norms  # noqa: E402

Run = Callable[[list[Any]], Any]


@pytest.fixture(params=["eager", "graph", "xla"])
def measured(request: pytest.FixtureRequest) -> Run:
    """`norms` called in one of the three ways."""

    def run(tensors: list[Any]) -> Any:
        function = norms if request.param == "eager" else tf.function(norms, jit_compile=request.param == "xla")
        return function(tensors).numpy()

    return run


def drawn(*shape: int, scale: float = 1.0) -> Any:
    return (np.random.default_rng(len(shape)).normal(size=shape) * scale).astype(np.float32)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-15, 1e15, 1e30])
def test_any_scale(measured: Run, scale: float) -> None:
    arrays = [drawn(3, 4, 5, scale=scale), drawn(7), drawn(6, 1000, scale=scale), np.float32(scale)]
    expected = [np.linalg.norm(a.astype(np.float64)) for a in arrays]
    np.testing.assert_allclose(measured([tf.constant(a) for a in arrays]), expected, rtol=1e-5)


def test_what_has_no_entry_or_only_zeros_has_norm_0(measured: Run) -> None:
    assert measured([tf.zeros([0, 3]), tf.zeros([5]), tf.ones([4])]).tolist() == [0.0, 0.0, 2.0]


def test_no_tensors(measured: Run) -> None:
    assert measured([]).shape == (0,)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [([np.nan, 1.0], np.nan), ([np.inf, 1.0], np.inf), ([-np.inf, 1.0], np.inf)],
)
def test_infinite_if_an_entry_is(measured: Run, entries: list[float], expected: float) -> None:
    found = measured([tf.constant(entries), tf.ones([4])])
    np.testing.assert_equal(found, np.array([expected, 2.0], np.float32))


def test_a_norm_beyond_float32_stays_finite(measured: Run) -> None:
    found = measured([tf.fill([100], 3e38), tf.fill([4], tf.constant(1e200, tf.float64))])
    assert found.tolist() == [np.finfo(np.float32).max] * 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions(measured: Run, dtype: str) -> None:
    """The largest float16 is 65504: its square must not be taken in float16."""
    values = tf.cast(tf.constant([60000.0, 2.0, 3.0]), dtype)
    expected = np.linalg.norm(np.asarray(tf.cast(values, tf.float64)))
    np.testing.assert_allclose(measured([values]), [expected], rtol=1e-5)


def test_rows_of_a_sparse_gradient_with_the_same_index_are_added(measured: Run) -> None:
    values, indices = drawn(6, 3), [4, 1, 4, 0, 1, 4]
    dense = np.zeros((5, 3))
    np.add.at(dense, indices, values.astype(np.float64))
    slices = tf.IndexedSlices(tf.constant(values), tf.constant(indices), dense_shape=tf.constant([5, 3]))
    np.testing.assert_allclose(measured([slices]), [np.linalg.norm(dense)], rtol=1e-5)


def test_rows_that_cancel(measured: Run) -> None:
    slices = tf.IndexedSlices(tf.constant([[1.0], [-1.0]]), tf.constant([7, 7]), dense_shape=tf.constant([9, 1]))
    assert measured([slices]).tolist() == [0.0]


def test_complex_gradient(measured: Run) -> None:
    np.testing.assert_allclose(measured([tf.constant([3 + 4j, 0j], tf.complex64)]), [5.0], rtol=1e-6)
