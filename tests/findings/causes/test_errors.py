"""Known errors, by messages as they really read: what is said of each, and the line as it should read."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from trimtab._language import speaking
from trimtab.findings.causes import KNOWN
from trimtab.findings.causes.errors import ROWS, ignored_setting, known_error
from trimtab.findings.causes.errors._known_error import recognised

# Written by running a script per error with TensorFlow 2.21, Keras 3.15 on its three backends, tf_keras 2.21,
# PyTorch 2.13, JAX 0.10, flax 0.12, optax 0.2 and NumPy 2.4; "cause" is null where nothing is known.
SEEN: list[dict[str, Any]] = json.loads((Path(__file__).parent / "seen_errors.json").read_text(encoding="utf-8"))
# What takes a GPU, or an older version, to be seen; the messages are those of the libraries' sources.
UNSEEN: list[dict[str, Any]] = [
    {
        "type": "RuntimeError",
        "message": "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        "cause": "device-mismatch",
    },
    {
        "type": "RuntimeError",
        "message": "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or "
        "input should be a MKLDNN tensor and weight is a dense tensor",
        "cause": "device-mismatch",
    },
    {
        "type": "RuntimeError",
        "message": "expected scalar type Long but found Float",
        "cause": "type-mismatch",
    },
    {
        "type": "AttributeError",
        "message": "module 'numpy' has no attribute 'bool'.\n`np.bool` was a deprecated alias for the builtin `bool`.",
        "source": "mask = np.zeros(3, dtype=np.bool)",
        "cause": "old-spelling",
        "try": ["mask = np.zeros(3, dtype=bool)"],
    },
    {
        "type": "AttributeError",
        "message": "'_SingleProcessDataLoaderIter' object has no attribute 'next'",
        "source": "x, y = batches.next()",
        "cause": "old-spelling",
        "try": ["x, y = next(batches)"],
    },
]


def name_of(error: dict[str, Any]) -> str:
    return f"{error.get('name', error['message'][:20])}-{error.get('on', '')}"


@pytest.mark.parametrize("error", SEEN + UNSEEN, ids=name_of)
def test_an_error_as_it_reads(error):
    known = known_error(error)
    assert (known.cause if known else None) == error["cause"]
    if known is not None and "try" in error:
        assert list(known.clue.remedies) == error["try"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_clue_is_said_in_full(language):
    with speaking(language):
        for error in SEEN:
            known = known_error(error)
            assert known is None or (known.clue.why and "{" not in known.clue.why), error


def test_what_is_to_be_pasted_is_python_or_a_command():
    for error in SEEN + UNSEEN:
        known = known_error(error)
        for remedy in known.clue.remedies if known else ():
            if not remedy.startswith("pip install "):
                ast.parse(
                    remedy if not remedy.startswith(("if ", "for ", "with ")) or ": " in remedy else remedy + " ..."
                )


def test_no_row_stands_in_the_shadow_of_another():
    """Each is the first that matches some message."""
    used = {id(row) for error in SEEN + UNSEEN for row in _first(error)}
    idle = [row for row in ROWS if id(row) not in used and not (row.names and row.key.__name__ == "_moved")]
    assert [(row.message, row.line) for row in idle] == []


def _first(error: dict[str, Any]) -> list[Any]:
    return next(([row] for row in ROWS if recognised(error, (row,)) is not None), [])


def test_every_cause_has_its_page():
    assert {row.cause for row in ROWS} <= KNOWN.keys()


@pytest.mark.parametrize(
    "error",
    [
        {},
        {"type": "ValueError", "message": ""},
        {"type": "ValueError", "message": "no"},
        {"type": "AttributeError", "message": "module 'mine' has no attribute 'Session'", "source": "mine.Session()"},
        {"type": "AttributeError", "message": "module 'numpy' has no attribute 'flaot'", "source": "np.flaot"},
        {"type": "KeyError", "message": "'acc'", "source": "bank['acc']"},
        {"type": "ValueError", "message": "Unrecognized keyword arguments passed to MyLayer: {'init': 3}"},
        {"type": "MyError", "message": "Target 3 is out of bounds."},
        {"type": "ModuleNotFoundError", "message": "No module named 'torchvision'", "source": "import torchvision"},
    ],
)
def test_nothing_is_guessed(error):
    assert known_error(error) is None


def test_a_line_with_two_matches_is_not_rewritten():
    error = {"type": "ValueError", "message": "Argument(s) not recognized: {'lr': 0.1}"}
    source = "a, b = Adam(lr=0.1), SGD(lr=0.1)"
    assert known_error(error | {"source": source}).clue.remedies == ("Adam(learning_rate=0.001)",)


def test_only_the_lines_that_change_are_given():
    error = {"type": "ValueError", "message": "Argument(s) not recognized: {'lr': 0.1}"}
    source = "optimizer = Adam(\n    beta_1=0.9,\n    lr=0.1,\n)"
    assert known_error(error | {"source": source}).clue.remedies == ("learning_rate=0.1,",)


def test_a_name_that_a_library_asks_for_is_told_and_nothing_is_to_be_pasted():
    error = {"type": "AttributeError", "message": "module 'tensorflow' has no attribute 'Session'"}
    known = known_error(error | {"source": "agent.train()"})
    assert "tensorflow.compat.v1.Session" in known.clue.why
    assert known.clue.remedies == ()


@pytest.mark.parametrize(
    ("setting", "source", "remedy"),
    [
        ("decay", "SGD(learning_rate=0.1, decay=1e-6)",
         "SGD(learning_rate=keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1e-6))"),
        ("decay", "Adam(1e-3, decay=LR / EPOCHS)",
         "Adam(keras.optimizers.schedules.InverseTimeDecay(1e-3, 1, LR / EPOCHS))"),
        ("decay", "Adam(decay=1e-6)",
         "SGD(learning_rate=keras.optimizers.schedules.InverseTimeDecay(0.01, decay_steps=1, decay_rate=1e-6))"),
        ("lr", "model.optimizer.lr = 1e-4", "model.optimizer.learning_rate = 1e-4"),
    ],
)  # fmt: skip
def test_a_setting_without_effect(setting, source, remedy):
    assert ignored_setting(setting, source).clue.remedies == (remedy,)


def test_a_setting_that_is_not_known_is_not_spoken_of():
    assert ignored_setting("momentum", "SGD(momentum=0.9)") is None
