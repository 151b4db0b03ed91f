"""Labels beyond the classes, in a training that goes on: XLA neither refuses nor learns them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings.causes._records import clue, run
from trimtab.findings import judge
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


@pytest.mark.parametrize(
    ("columns", "remedies"),
    [
        ({"classes": 5, "target_min": 1, "target_max": 5}, ("y = y - y.min()",)),
        ({"classes": 5, "target_min": 0, "target_max": 9}, ("keep = (y >= 0) & (y < 5)",)),
    ],
)
def test_a_loss_that_is_nan_for_want_of_a_class_is_not_to_be_skipped(columns, remedies):
    (finding,) = judge(run(np.full(40, np.nan), **losses(**columns))).findings
    assert (finding.kind, finding.causes[0].cause) == ("non-finite", "labels-invalid")
    assert finding.remedies == remedies


def test_a_nan_with_labels_of_the_classes_may_be_skipped():
    loss = np.where(np.arange(200) < 100, 1.0, np.nan)
    (finding,) = judge(run(loss, **losses(classes=5, target_max=4))).findings
    assert "skip=nonfinite" in finding.remedies
