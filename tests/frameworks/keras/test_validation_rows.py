"""Arrays that are given for training and for validation: which rows they have in common, to the bit."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.frameworks.keras.test_run import BACKENDS, run

pytest.importorskip("keras")

SCRIPT = """
import sys
import numpy as np
import keras

keras.utils.set_random_seed(0)
draw = np.random.default_rng(0)
x = draw.normal(size=(320, 8)).astype("float32")
y = (x[:, 0] > 0).astype("float32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1, "sigmoid")])
model.compile("adam", "binary_crossentropy")
held_out = slice(0, 64) if sys.argv[1] == "leak" else slice(256, 320)
model.fit(x[:256], y[:256], validation_data=(x[held_out], y[held_out]), epochs=4, batch_size=32, verbose=0)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
@pytest.mark.parametrize("which", ["leak", "clean"])
def test_training_rows_given_as_validation_data(which: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "trimtab", "run", "--out", "run", "train.py", which]
    done = run(command, "jax" if "jax" in BACKENDS else BACKENDS[0], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "watching stopped" not in done.stderr
    findings = json.loads((tmp_path / "run" / "verdict.json").read_text(encoding="utf-8"))["findings"]
    leaks = [f for f in findings if any(cause["cause"] == "validation-leak" for cause in f["causes"])]
    assert [(f["kind"], f["severity"]) for f in leaks] == ([("overfitting", "warning")] if which == "leak" else [])


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(20)), elements=st.sampled_from([0.0, -0.0, 1.0])),
    st.lists(st.integers(0, 29), min_size=1, max_size=30),
    st.integers(0, 5),
)
def test_rows_in_common_are_those_with_equal_bytes(x, places, more):
    from trimtab.frameworks.keras._validation_rows import in_common

    x = np.unique(x, axis=0)
    x = np.column_stack([np.arange(len(x), dtype=np.float32), x])  # no two alike
    other = np.concatenate([x[[p % len(x) for p in places]], np.full((more, x.shape[1]), 0.5, np.float32)])
    expected = {row.tobytes() for row in other} & {row.tobytes() for row in x}
    assert in_common(x, other) == (len(expected), len({row.tobytes() for row in other}), len(x))


def test_rows_that_repeat_each_other_say_nothing() -> None:
    from trimtab.frameworks.keras._validation_rows import in_common

    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 10)
    assert in_common(corners, corners[:4]) is None
