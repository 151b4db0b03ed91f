"""Labels beyond the classes, in a training that goes on: XLA neither refuses nor learns them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings.causes._records import clue, run
from trimtab.findings.causes import EXACT, STRONG


def losses(**columns: object) -> dict[str, object]:
    return {"losses": {"kind": "cross_entropy", "target_min": 0, "labels_seen": 3, **columns}}


@pytest.mark.parametrize(
    ("columns", "strength"),
    [
        ({"classes": 3, "target_max": 3}, STRONG),
        ({"classes": 3, "target_max": 255}, STRONG),  # may be masked afterwards
        ({"classes": 1, "target_max": 1, "labels_seen": 1}, EXACT),
        ({"classes": 3, "target_min": 1, "target_max": 3}, EXACT),  # counted from 1
        ({"classes": 3, "target_max": 4, "labels_beyond": 0.1}, EXACT),  # the loss masks nothing
        ({"classes": 3, "target_min": -1, "target_max": 2, "labels_beyond": 0.1}, EXACT),
    ],
)
def test_labels_that_the_model_has_no_output_for(columns, strength):
    found = clue("labels-invalid", run(**losses(**columns)))
    assert found is not None
    assert found.strength == strength
    assert f"to {columns['target_max']}, and the model has outputs for 0 to {columns['classes'] - 1} only" in found.why


@pytest.mark.parametrize(
    "columns",
    [
        {"classes": 3, "target_max": 2},
        {"classes": 3, "target_max": 2, "target_min": -1},  # the usual mark of a row that does not count
        {"classes": 3, "target_max": 2, "labels_beyond": 0.0},
        {"classes": 2, "target_max": 1.0, "kind": "bce"},
    ],
)
def test_labels_within_the_classes(columns):
    assert clue("labels-invalid", run(**losses(**columns))) is None


def test_two_heads_with_different_numbers_of_classes():
    sampled = len(range(0, 200, 16))
    first = np.arange(sampled) % 2 == 0
    columns = {"classes": np.where(first, 10, 3), "target_max": np.where(first, 9.0, 2.0)}
    assert clue("labels-invalid", run(**losses(**columns))) is None
