"""Every function of the namespace means the same on every kind of array: values, dtypes, NaN, infinities, nothing."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from tests.policies._namespaces import KINDS, Kind, back

from trimtab.policies import Namespace

ODD = np.array([0.0, -0.0, 1.5, -2.0, 1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)
OTHER = np.array([np.nan, 1.0, 1.5, 3.0, np.inf, 0.0, -np.inf, np.nan, 2.0], np.float32)
EMPTY = np.zeros(0, np.float32)
FINITE = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]()


def same(found: Any, expected: Any, **tolerance: float) -> None:
    found, expected = back(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, **{"rtol": 0, "atol": 0, **tolerance})


ONE_ARRAY = {
    "isfinite": np.isfinite,
    "sqrt": np.sqrt,
    "log": np.log,
    "abs": np.abs,
    "sign": np.sign,
}


@pytest.mark.parametrize("array", [ODD, EMPTY, np.float32(2.5), FINITE], ids=["odd", "empty", "scalar", "matrix"])
@pytest.mark.parametrize("name", ONE_ARRAY)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_of_one_array(kind: Kind, name: str, array: Any, compiled: bool) -> None:
    function = getattr(kind.xp, name)
    with kind.xp.quiet(), np.errstate(all="ignore"):
        found = (kind.compiled(function) if compiled else function)(kind.give(array))
        same(found, ONE_ARRAY[name](array), rtol=3e-7)


@pytest.mark.parametrize("name", ["minimum", "maximum"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_the_lesser_and_the_greater(kind: Kind, name: str, compiled: bool) -> None:
    function, judge = getattr(kind.xp, name), getattr(np, name)
    function = kind.compiled(function) if compiled else function
    same(function(kind.give(ODD), kind.give(OTHER)), judge(ODD, OTHER))
    same(function(kind.give(ODD), kind.give(np.float32(0.5))), judge(ODD, np.float32(0.5)))
    same(getattr(kind.xp, name)(kind.give(ODD), 0.5), judge(ODD, np.float32(0.5)))
    same(function(kind.give(EMPTY), kind.give(EMPTY)), EMPTY)


def test_where_takes_nothing_from_the_other_side(kind: Kind) -> None:
    condition = np.isfinite(ODD)
    same(kind.xp.where(kind.give(condition), kind.give(ODD), 1.0), np.where(condition, ODD, np.float32(1)))
    same(
        kind.xp.where(kind.give(condition), kind.give(FINITE[0, 0, 0]), kind.give(ODD)),
        np.where(condition, FINITE[0, 0, 0], ODD),
    )
    same(kind.xp.where(kind.give(np.bool_(True)), kind.give(EMPTY), kind.give(EMPTY)), EMPTY)


def test_sort_leaves_infinities_at_the_ends(kind: Kind) -> None:
    x = np.array([3.0, np.inf, -1.0, np.inf, -np.inf, 0.0], np.float32)
    same(kind.xp.sort(kind.give(x)), np.sort(x))
    same(kind.xp.sort(kind.give(EMPTY)), EMPTY)


@pytest.mark.parametrize("axes", [None, (0, 2), (1,)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sums(kind: Kind, axes: Any, dtype: Any) -> None:
    if dtype == np.float64 and "Jax" in type(kind.xp).__name__:
        pytest.skip("JAX has no float64 unless asked")
    x = (FINITE * 300).astype(dtype)
    wide = x.astype(np.float64)
    result = np.float64 if dtype == np.float64 else np.float32
    for found, judge in ((kind.xp.sum, wide), (kind.xp.sum_of_squares, wide**2)):
        expected = judge.sum(axis=axes, keepdims=axes is not None).astype(result)
        same(found(kind.give(x), axes), expected, rtol=1e-5, atol=1e-2)


def test_sums_of_nothing_of_nan_and_beyond_the_range(kind: Kind) -> None:
    with kind.xp.quiet():
        same(kind.xp.sum(kind.give(EMPTY)), np.float32(0))
        same(kind.xp.sum_of_squares(kind.give(EMPTY)), np.float32(0))
        same(kind.xp.sum(kind.give(ODD)), np.float32(np.nan))
        same(kind.xp.sum_of_squares(kind.give(np.float32([1e30, 1]))), np.float32(np.inf))
        same(kind.xp.sum_of_squares(kind.give(np.float16([60000, 1]))), np.float32(3.6e9), rtol=1e-6)


def test_what_is_made(kind: Kind) -> None:
    same(kind.xp.full(3, np.inf), np.full(3, np.inf, np.float32))
    same(kind.xp.full(0, 1.0), EMPTY)
    same(kind.xp.arange(4), np.arange(4, dtype=np.float32))
    parts = [kind.give(np.float32([1, 2])), kind.give(EMPTY), kind.give(np.float32([3]))]
    same(kind.xp.concat(parts), np.float32([1, 2, 3]))


def test_widening_and_rounding_back(kind: Kind) -> None:
    half, single = kind.give(np.float16([1.5, np.inf, np.nan])), kind.give(np.float32([1.0009765, 1e6, np.nan]))
    same(kind.xp.wide(half), np.float32([1.5, np.inf, np.nan]))
    same(kind.xp.wide(single), np.float32([1.0009765, 1e6, np.nan]))
    with kind.xp.quiet():
        same(kind.xp.like(single, half), np.float16([1.0009765, np.inf, np.nan]))


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_bfloat16_is_widened(name: str) -> None:
    kind = KINDS[name]()
    framework = pytest.importorskip({"jax": "jax.numpy"}.get(name, name))
    narrow = kind.xp.like(kind.give(np.float32([1.0, 1.00390625, 3e38])), _bfloat16(framework))
    assert "bfloat16" in str(narrow.dtype)
    same(kind.xp.sum(narrow[:2]), np.float32(2))
    same(kind.xp.wide(narrow)[:1], np.float32([1]))


def _bfloat16(framework: Any) -> Any:
    return framework.zeros(1, dtype=framework.bfloat16) if hasattr(framework, "zeros") else None


def test_operators_and_indexing_agree(kind: Kind) -> None:
    x = kind.give(np.float32([3, 1, 2]))
    yes = (x > 1.5) & ~(x > 2.5) | (x < 0.5)
    same(yes, np.array([False, False, True]))
    same(kind.xp.concat([x[1:], (x[0] * 2.0)[None]]), np.float32([1, 2, 6]))
    same(1.0 / x[2] - 1.0, np.float32(-0.5))


def test_each_kind_has_the_functions_of_the_protocol_and_no_other(kind: Kind) -> None:
    def functions(cls: Any) -> dict[str, list[str]]:
        members = inspect.getmembers(cls, inspect.isfunction)
        return {n: list(inspect.signature(f).parameters) for n, f in members if not n.startswith("_")}

    assert functions(type(kind.xp)) == functions(Namespace)
