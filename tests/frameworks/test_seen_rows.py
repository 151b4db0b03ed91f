"""Rows known by their bytes: those of validation that are rows of training."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.frameworks._kept import KeptSession

from trimtab.frameworks._seen_rows import SeenRows, fingerprints


def rows(values: np.ndarray) -> list[int]:
    return list(fingerprints(np.ascontiguousarray(values).view(np.uint8)))


@given(st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0]), min_size=2, max_size=2), min_size=1, max_size=12))
def test_fingerprints_are_equal_where_the_bytes_are(values):
    array = np.array(values, dtype=np.float32)
    given = rows(array)
    for i, a in enumerate(array):
        for j, b in enumerate(array):
            assert (given[i] == given[j]) == (a.tobytes() == b.tobytes())


def test_rows_of_both_are_counted_once_and_told_when_there_are_more(tmp_path):
    session = KeptSession(str(tmp_path))
    seen = SeenRows(session)
    seen.trained(range(50))
    seen.validated("a", [*range(40, 60), 40])
    seen.tell("a", "val_loss")
    seen.tell("a", "val_loss")
    seen.trained(range(50, 55))
    seen.tell("a", "val_loss")
    told = [data for _, data in session.events]
    assert [(e["trained_on"], e["compared"], e["trained"]) for e in told] == [(10, 20, 50), (15, 20, 55)]


def test_how_often_rows_of_training_come_again_is_told(tmp_path):
    session = KeptSession(str(tmp_path))
    seen = SeenRows(session)
    seen.trained(range(100))
    for _ in range(4):
        seen.trained([*range(5), *range(1000, 1005)])
    seen.validated("a", range(100))
    seen.tell("a", "val_loss")
    assert session.events[0][1]["again"] == pytest.approx((0.5 + 3 * 1.0) / 4)


def test_rows_that_repeat_each_other_say_nothing(tmp_path):
    session = KeptSession(str(tmp_path))
    seen = SeenRows(session)
    seen.trained([0, 1, 2, 3] * 8)
    seen.validated("a", range(4))
    seen.tell("a", "val_loss")
    assert seen.is_over
    assert session.events == []
