"""Norms against float64, over all magnitudes that float32 can hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trimtab.frameworks.torch._norms import LONG, careful_norm, count_nonfinite, norm_table, plan_norms, read_norms

magnitudes = st.integers(-37, 37)


@given(st.lists(st.tuples(magnitudes, st.integers(1, 50)), min_size=1, max_size=6), st.integers(0, 2**31))
def test_a_norm_is_right_wherever_its_true_value_is(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(n, generator=generator).clamp(-9, 9) * 10.0**m for m, n in shapes]
    norms = read_norms(tensors, plan_norms(tensors)).norms()
    for norm, tensor in zip(norms, tensors, strict=True):
        true = tensor.double().norm().item()
        assert norm == pytest.approx(true, rel=1e-4) or true < 1e-43


@pytest.mark.parametrize("value", [1e18, 1e30, 1e-24, 1e-38])
@pytest.mark.parametrize("size", [1000, LONG + 5])
def test_a_finite_explosion_is_not_called_infinite_nor_a_tiny_gradient_zero(value, size):
    tensor = torch.full((size,), value)
    norm = read_norms([tensor], plan_norms([tensor])).norms()[0]
    assert norm == pytest.approx(value * math.sqrt(size), rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("size", [10, LONG + 5])
def test_not_finite_if_and_only_if_an_entry_is(bad, size):
    tensor, other = torch.ones(size), torch.ones(3)
    tensor[7] = bad
    reading = read_norms([other, tensor], plan_norms([other, tensor]))
    norms = reading.norms()
    assert math.isfinite(norms[0])
    assert not math.isfinite(norms[1])
    assert count_nonfinite(tensor) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_squared_in_float32(dtype):
    tensor = torch.full((4000,), 1150.0, dtype=dtype)
    norm = read_norms([tensor], plan_norms([tensor])).norms()[0]
    assert norm == pytest.approx(tensor.double().norm().item(), rel=1e-5)  # float32 sums


def test_many_readings_by_one_plan_are_a_table_in_the_order_of_the_list():
    torch.manual_seed(0)
    tensors = [torch.randn(5), torch.randn(LONG), torch.randn(7), torch.randn(2, LONG)]
    plan = plan_norms(tensors)
    assert plan is not None
    readings = [read_norms([k * t for t in tensors], plan) for k in (1, 2, 0)]
    expected = [[k * t.double().norm().item() for t in tensors] for k in (1, 2, 0)]
    np.testing.assert_allclose(norm_table(plan, readings), expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_layouts_that_are_not_plain():
    rows = torch.sparse_coo_tensor(torch.tensor([[1, 1]]), torch.tensor([[3.0], [1.0]]), (4, 1))
    assert careful_norm(rows) == 4.0
    transposed = torch.ones(300, 200).t()
    assert read_norms([transposed], plan_norms([transposed])).norms()[0] == pytest.approx(math.sqrt(60_000))
    assert careful_norm(torch.zeros(0)) == 0.0
