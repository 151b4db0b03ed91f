"""`trimtab run` on TensorFlow scripts, end to end: what they print and save, and what is found."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")

BLOWS_UP = """
import hashlib
import sys
import numpy as np
import tensorflow as tf
import keras

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(64, 10)).astype("float32")
y = (10 * x.sum(1, keepdims=True)).astype("float32")
model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(5.0)

@tf.function
def step(x, y):
    print("traced")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    return loss

for i in range(60):
    loss = step(x, y)
print(float(loss))
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
model.save(sys.argv[1])
"""

TRAINS = """
import hashlib
import sys
import numpy as np
import tf_keras

tf_keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(512, 10)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
model = tf_keras.Sequential([tf_keras.layers.Dense(32, "relu", input_shape=(10,)), tf_keras.layers.Dense(1, "sigmoid")])
model.compile(tf_keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, batch_size=32, epochs=8, verbose=0, validation_split=0.25)
print(history.history["loss"][-1])
print(hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest())
model.save(sys.argv[1], save_format="h5")
"""


def run(script: str, directory: Path, *, watched: bool) -> subprocess.CompletedProcess[str]:
    directory.mkdir()
    (directory / "train.py").write_text(script)
    plain = [sys.executable, "train.py", "model.keras"]
    command = [sys.executable, "-m", "trimtab", "run", "--out", "run", *plain[1:]] if watched else plain
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIMTAB_")} | quiet
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def as_plain(script: str, directory: Path) -> dict[str, Any]:
    """The verdict, after a look at what the user can see of the script itself."""
    plain, watched = run(script, directory / "plain", watched=False), run(script, directory / "watched", watched=True)
    assert (plain.returncode, watched.returncode) == (0, 0), watched.stderr
    assert watched.stdout == plain.stdout
    verdict: dict[str, Any] = json.loads((directory / "watched" / "run" / "verdict.json").read_text())
    return verdict


def test_a_loop_of_the_user_s_own_that_blows_up(tmp_path: Path) -> None:
    verdict = as_plain(BLOWS_UP, tmp_path)
    assert verdict["outcome"] == "blew_up"
    assert verdict["steps"] == 60
    steps = pandas.read_parquet(tmp_path / "watched" / "run" / "steps").sort_values("step")
    assert steps.step.tolist() == list(range(60))
    assert steps.backwards.tolist() == [1] * 60
    assert steps.lr.unique().tolist() == [5.0]
    assert steps.loss[0] > 0


def test_keras_2_that_trains(tmp_path: Path) -> None:
    pytest.importorskip("tf_keras")
    verdict = as_plain(TRAINS, tmp_path)
    assert verdict["outcome"] == "trained"
    assert verdict["steps"] == 96
    metrics = pandas.read_parquet(tmp_path / "watched" / "run" / "metrics")
    assert {"accuracy", "val_loss", "val_accuracy"} <= set(metrics.name)
