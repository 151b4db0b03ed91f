"""Scripts for older versions, and with mistakes that end them, under `trimtab run`: what is told of each."""

from __future__ import annotations

import os

import pytest

from tests.launch.conftest import Bench

MODEL = """
import keras
import numpy as np

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
x, labels = np.ones((8, 3), "float32"), np.arange(8) % 4
"""


@pytest.fixture
def quiet(bench: Bench) -> Bench:
    """Without the word of TensorFlow on what it finds in the machine."""
    bench.environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return bench


def told(bench: Bench, code: str, backend: str = "") -> str:
    """What trimtab says of the crash of a script, below the traceback."""
    bench.write({"train.py": code.lstrip("\n")})
    if backend:
        pytest.importorskip({"torch": "torch", "jax": "jax"}.get(backend, "tensorflow"))
        pytest.importorskip("keras")
        bench.environment["KERAS_BACKEND"] = backend
    outcome = bench.watched(["train.py"], quiet=False)
    assert outcome.status == 1
    assert outcome.stdout == ""
    said = outcome.stderr[outcome.stderr.index("trimtab: crashed: ") :]
    return said.replace(str(bench.directory) + os.sep, "").rstrip("\n")


def test_an_optimizers_old_argument(quiet: Bench) -> None:
    assert told(quiet, "import keras\noptimizer = keras.optimizers.Adam(lr=0.001)\n", "jax") == (
        "trimtab: crashed: ValueError: Argument(s) not recognized: {'lr': 0.001} "
        "(train.py:2: optimizer = keras.optimizers.Adam(lr=0.001)); `lr` is now `learning_rate`; "
        "try: optimizer = keras.optimizers.Adam(learning_rate=0.001)"
    )


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_label_beyond_the_classes(quiet: Bench, backend: str) -> None:
    code = f'{MODEL}model.compile("sgd", "sparse_categorical_crossentropy")\nmodel.fit(x, labels, verbose=0)\n'
    said = told(quiet, code, backend)
    assert "(train.py:7: model.fit(x, labels, verbose=0)); label 3 lies outside of the " in said
    assert "Graph execution error" not in said


def test_targets_that_are_class_numbers(quiet: Bench) -> None:
    code = f'{MODEL}model.compile("sgd", "categorical_crossentropy")\nmodel.fit(x, labels, verbose=0)\n'
    assert told(quiet, code, "jax").endswith(
        "the targets are one number per row; this loss wants 3 values per row, as the model gives; "
        'try: loss="sparse_categorical_crossentropy" or y = keras.utils.to_categorical(y, 3)'
    )


@pytest.mark.parametrize(("backend", "whose"), [("tensorflow", "a tensor of TensorFlow"), ("jax", "an array of JAX")])
def test_a_backward_pass_in_the_manner_of_pytorch(quiet: Bench, backend: str, whose: str) -> None:
    code = f"{MODEL}loss = keras.ops.mean(model(x))\nloss.backward()\n"
    assert f"(train.py:7: loss.backward()); `backward` is PyTorch's; this loss is {whose}; try: " in told(
        quiet, code, backend
    )


def test_a_script_for_tensorflow_1(quiet: Bench) -> None:
    pytest.importorskip("tensorflow")
    assert told(quiet, "import tensorflow as tf\nsession = tf.Session()\n").endswith(
        "(train.py:2: session = tf.Session()); `tensorflow.Session` is now `tensorflow.compat.v1.Session`; "
        "try: import tensorflow.compat.v1 as tf; tf.disable_v2_behavior()"
    )


def test_a_removed_name_of_numpy(bench: Bench) -> None:
    assert told(bench, "import numpy as np\nmask = np.zeros(3, dtype=np.float)\n").endswith(
        "(train.py:2: mask = np.zeros(3, dtype=np.float)); `numpy.float` is now `float`; "
        "try: mask = np.zeros(3, dtype=float)"
    )


def test_code_that_is_run_by_exec(bench: Bench) -> None:
    said = told(bench, "import numpy\ncode = '''\n\nnumpy.product([1])\n'''\nexec(code)\n")
    assert "(train.py:6: exec(code)); `numpy.product` is now `numpy.prod`" in said


def test_in_the_midst_of_a_training(quiet: Bench) -> None:
    """The page names the line, the cause and what to try."""
    pytest.importorskip("torch")
    quiet.write({"train.py": """
import torch
from torch import nn

model = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for width in (4, 4, 4, 3):
    model(torch.ones(8, width)).square().mean().backward()
    optimizer.step()
"""})  # fmt: skip
    said = " ".join(quiet.watched(["train.py"], quiet=False).stderr.split())
    assert "cause shape-mismatch: the input has 3 features where 4 are expected" in said
    assert "try nn.Linear(3, 2) # in place of nn.Linear(4, 2)" in said
