"""overfitting where validation is measured on rows of training, by the rows that were compared."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import Finding, judge

from ._planted import falling, found, record, series


def judged(**data: object) -> Finding | None:
    """A healthy run whose last validation compared these rows."""
    known = {"name": "val_loss", "trained_on": 0, "compared": 256, "trained": 1000, "again": "nan"} | data
    events = [{"kind": "validation_rows", "step": 40, "data": known}]
    metrics = {"val_loss": (np.linspace(0.5, 6, 8), np.linspace(1.2, 0.2, 8))}
    return found(judge(record(series(falling(600, last=0.15)), metrics=metrics, events=events)), "overfitting")


def test_validation_data_that_are_training_data_are_a_warning():
    finding = judged(trained_on=250, again=1.0, given=True)
    assert finding is not None
    assert (finding.severity, finding.causes[0].cause) == ("warning", "validation-leak")
    assert "says nothing of other data" in finding.says
    assert "250 of 256" in finding.causes[0].why
    assert finding.remedies


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"trained_on": 250, "again": 1.0}, "says nothing of other data"),  # an evaluation of the training set
        ({"trained_on": 30, "again": 0.13}, "says nothing of other data"),  # of which few rows were looked at
        ({"trained_on": 80, "again": 1.0, "given": True}, "in part"),
        ({"trained_on": 8, "again": 0.13}, "in part"),
        ({"trained_on": 8}, "in part"),
    ],
)
def test_what_a_script_may_want_is_a_note(data, part):
    finding = judged(**data)
    assert finding is not None
    assert finding.severity == "note"
    assert part in finding.says


@pytest.mark.parametrize("data", [{}, {"trained_on": 4}, {"trained_on": 12, "compared": 20, "again": 1.0}])
def test_few_rows_say_nothing(data):
    assert judged(**data) is None
