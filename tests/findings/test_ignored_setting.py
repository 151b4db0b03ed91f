"""A setting that is taken and has no effect."""

from __future__ import annotations

from typing import Any

from tests.findings._planted import falling, record, series
from trimtab.findings import judge

DECAY = {
    "setting": "decay",
    "value": 1e-6,
    "of": "SGD",
    "file": "train.py",
    "line": 7,
    "function": "<module>",
    "source": "opt = SGD(learning_rate=0.1, decay=1e-6, momentum=0.9)",
}


def found(*events: dict[str, Any]) -> list[Any]:
    planted = record(series(falling(100)), events=[{"kind": "old_spelling", "data": data} for data in events])
    return [finding for finding in judge(planted).findings if finding.kind == "ignored-setting"]


def test_the_setting_its_line_and_what_does_its_work():
    (finding,) = found(DECAY)
    assert finding.severity == "warning"
    assert finding.says.startswith("decay=1e-06 of SGD has no effect (train.py:7: opt = SGD(")
    assert [cause.cause for cause in finding.causes] == ["old-spelling"]
    assert finding.remedies == (
        "opt = SGD(learning_rate=keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1e-6), momentum=0.9)",
    )
    assert finding.where == ({"file": "train.py", "line": 7, "function": "<module>"},)


def test_the_training_is_judged_as_it_is():
    planted = record(series(falling(100)), events=[{"kind": "old_spelling", "data": DECAY}])
    assert judge(planted).outcome == "trained"


def test_each_is_told_once():
    assert len(found(DECAY, DECAY)[0].where) == 1
    (finding,) = found(DECAY, DECAY | {"line": 9})
    assert [place["line"] for place in finding.where] == [7, 9]
    assert "train.py:9" in finding.says
    assert len(finding.causes) == len(finding.remedies) == 1


def test_what_asks_for_nothing_or_is_not_known_is_not_told():
    assert found(DECAY | {"value": 0.0}, DECAY | {"value": None}, DECAY | {"setting": "momentum"}, {}) == []
