"""A crash: what is said of it, where it is said to be, and what is to be tried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.findings._planted import record
from trimtab.findings import Finding, crash_line, judge

SEEN = {
    f"{error['name']}-{error['on']}": error
    for error in json.loads((Path(__file__).parent / "causes" / "seen_errors.json").read_text(encoding="utf-8"))
}
OLD_ADAM = {
    "type": "ValueError",
    "message": "Argument(s) not recognized: {'lr': 0.001}",
    "file": "train.py",
    "line": 12,
    "function": "<module>",
    "source": "opt = Adam(lr=0.001)",
}


def crash(data: dict[str, Any]) -> Finding:
    verdict = judge(record(events=[{"kind": "exception", "data": data}], status=1))
    assert verdict.outcome == "crashed"
    (finding,) = verdict.findings
    return finding


def test_the_line_what_stands_there_and_how_it_should_read():
    finding = crash(OLD_ADAM)
    assert finding.says == ("ValueError: Argument(s) not recognized: {'lr': 0.001} (train.py:12: opt = Adam(lr=0.001))")
    assert [cause.cause for cause in finding.causes] == ["old-spelling"]
    assert finding.remedies == ("opt = Adam(learning_rate=0.001)",)
    assert finding.where == ({"file": "train.py", "line": 12, "function": "<module>"},)
    assert finding.evidence["source"] == "opt = Adam(lr=0.001)"


def test_in_one_line():
    assert crash_line(OLD_ADAM) == (
        "crashed: ValueError: Argument(s) not recognized: {'lr': 0.001} (train.py:12: opt = Adam(lr=0.001)); "
        "`lr` is now `learning_rate`; try: opt = Adam(learning_rate=0.001)"
    )


def test_no_line_on_what_only_the_traceback_tells():
    assert crash_line({"type": "ValueError", "message": "boom", "file": "train.py", "line": 3}) == ""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            "sparse_beyond-tensorflow",
            "InvalidArgumentError: Received a label value of 3 which is outside the valid range of [0, 3). Label",
        ),
        ("tf_keras_shape-tensorflow", 'ValueError: Input 0 of layer "sequential_1" is incompatible with the layer: '),
        ("matmul_shapes-tensorflow", "InvalidArgumentError: Matrix size-incompatible: In[0]: [2,3], In[1]: [4,5] ("),
        ("numpy_in_graph-tensorflow", "AttributeError: 'SymbolicTensor' object has no attribute 'numpy' ("),
        ("embed_beyond-torch", "IndexError: index out of range in self ("),
    ],
)
def test_what_is_wrong_is_told_without_what_the_framework_wraps_around_it(error, says):
    assert crash(SEEN[error] | {"file": "train.py", "line": 3}).says.startswith(says)


def test_long_messages_and_lines_are_shortened():
    says = crash({"type": "E", "message": "m" * 5000, "file": "a.py", "line": 1, "source": "s" * 900}).says
    assert len(says) < 350
    assert "..." in says


@pytest.mark.parametrize(
    ("message", "remedies"),
    [
        ("No module named 'cv2'", ("pip install opencv-python",)),
        ("No module named 'keras.layers.no_such_thing'", ()),
        ("No module named 'keras.layers.merge'", ("keras.layers",)),
    ],
)
def test_only_a_package_that_is_not_there_is_to_be_installed(message, remedies):
    """A module is missing in a package that is there."""
    assert crash({"type": "ModuleNotFoundError", "message": message, "source": ""}).remedies in (remedies, ())


def test_a_crash_of_an_older_record_is_told_as_before():
    finding = crash({"type": "ValueError", "message": "boom", "file": "train.py", "line": 3})
    assert finding.says == "ValueError: boom (train.py:3)"
    assert finding.causes == finding.remedies == ()
