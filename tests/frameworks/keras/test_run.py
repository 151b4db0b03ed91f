"""`trimtab run` on an unchanged Keras script: the verdict, and the same words on stdout as plain Python's."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KERAS = importlib.util.find_spec("keras") is not None
BACKENDS = [name for name in ("tensorflow", "jax", "torch") if KERAS and importlib.util.find_spec(name) is not None]

SCRIPT = """
import sys
import numpy as np
import keras

keras.utils.set_random_seed(0)
draw = np.random.default_rng(0)
x = draw.normal(size=(640, 8)).astype("float32")
y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype("int32")
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(32, activation="relu"),
                          keras.layers.Dense(32, activation="relu"), keras.layers.Dense(2)])
model.compile(keras.optimizers.SGD(float(sys.argv[1]), momentum=0.9),
              loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
history = model.fit(x, y, batch_size=32, epochs=10, validation_split=0.2, verbose=0)
print({name: [round(value, 6) for value in values] for name, values in history.history.items()})
print(model.evaluate(x, y, verbose=0))
"""


def run(command: list[str], backend: str, folder: Path) -> subprocess.CompletedProcess[str]:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    env = {**os.environ, "KERAS_BACKEND": backend, **quiet}
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=250, check=False)


def watched(backend: str, folder: Path, rate: str) -> tuple[str, dict[str, Any]]:
    (folder / "train.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "trimtab", "run", "--out", str(folder / "run"), "train.py", rate]
    done = run(command, backend, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "watching stopped" not in done.stderr
    verdict: dict[str, Any] = json.loads((folder / "run" / "verdict.json").read_text(encoding="utf-8"))
    return done.stdout, verdict


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_healthy_training_is_said_to_be_healthy(backend: str, tmp_path: Path) -> None:
    stdout, verdict = watched(backend, tmp_path, "0.05")
    assert (verdict["outcome"], verdict["steps"]) == ("trained", 160)
    assert [f["kind"] for f in verdict["findings"] if f["severity"] in ("fatal", "serious")] == []
    assert stdout == run([sys.executable, "train.py", "0.05"], backend, tmp_path).stdout
    assert "val_accuracy" in stdout


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rate_far_too_high_is_named_as_the_cause(backend: str, tmp_path: Path) -> None:
    _, verdict = watched(backend, tmp_path, "1e3")
    assert verdict["outcome"] in ("blew_up", "stalled")
    causes = {cause["cause"] for finding in verdict["findings"] for cause in finding["causes"]}
    assert "learning-rate-too-high" in causes
    (optimizer,) = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["processes"][0]["optimizers"]
    assert optimizer["class"] == "keras.optimizers.SGD"
    assert optimizer["groups"][0]["lr"] == 1000.0
