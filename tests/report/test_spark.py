"""Sparklines: one character per bucket, spikes kept, whatever the values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.report._spark import sparkline


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=200), st.integers(1, 50))
def test_any_values_give_at_most_width_characters(values, width):
    assert len(sparkline(values, width)) == min(width, len(values))


@pytest.mark.parametrize("place", [0, 137, 9_999])
def test_one_spike_among_ten_thousand_is_seen(place):
    curve = np.ones(10_000)
    curve[place] = 9.0
    assert sparkline(curve, 40).count("█") == 1


def test_what_is_not_finite_is_a_cross():
    assert sparkline([1, 2, math.nan, math.inf], 4) == "▁█××"
    assert sparkline([math.nan], 4) == "×"
    assert sparkline([1, math.nan], 2, ascii_only=True) == "_x"


def test_a_curve_over_many_decades_is_drawn_on_a_log_scale():
    assert sparkline(np.geomspace(1, 1e7, 8), 8) == "▁▂▃▄▅▆▇█"
