"""What the probe records of a Keras training, on TensorFlow and JAX: the numbers of the same training in PyTorch, the
findings that follow from them, and nothing changed.

Each script runs in a process of its own, since a process has one backend.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab import findings
from trimtab.runs import Record

pytest.importorskip("keras")
BACKENDS = [name for name in ("tensorflow", "jax") if importlib.util.find_spec(name) is not None]

DATA = """
import numpy as np
r = np.random.default_rng(0)
x = r.normal(size=(96, 8, 8, 3)).astype("float32")
y = r.integers(0, 4, 96)
w = {name: r.normal(size=shape).astype("float32") * 0.3 for name, shape in
     (("conv", (3, 3, 3, 6)), ("first", (6, 16)), ("second", (16, 12)), ("head", (12, 4)))}
"""

IN_TORCH = (
    DATA
    + """
import torch
from torch import nn
model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6, eps=1e-3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                      nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 12), nn.Sigmoid(), nn.Linear(12, 4))
with torch.no_grad():
    for layer, name in ((model[0], "conv"), (model[5], "first"), (model[7], "second"), (model[9], "head")):
        axes = (3, 2, 0, 1) if name == "conv" else (1, 0)
        layer.weight.copy_(torch.tensor(w[name].transpose(axes)))
        layer.bias.zero_()
optimizer, loss = torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()
for i in range(3):
    rows = slice(32 * i, 32 * i + 32)
    optimizer.zero_grad()
    loss(model(torch.tensor(x[rows].transpose(0, 3, 1, 2))), torch.tensor(y[rows])).backward()
    optimizer.step()
"""
)

IN_KERAS = (
    DATA
    + """
import keras
from keras import layers
model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization(),
                          layers.GlobalAveragePooling2D(), layers.Dense(16, activation="tanh"),
                          layers.Dense(12), layers.Activation("sigmoid"), layers.Dense(4)])
weighted = [layer for layer in model.layers if hasattr(layer, "kernel")]
for layer, name in zip(weighted, ("conv", "first", "second", "head")):
    layer.kernel.assign(w[name])
model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
model.fit(x, y, batch_size=32, shuffle=False, verbose=0)
"""
)

#: Says in one line all that a probe could have changed.
ALL_STATE = """
import hashlib, random
import numpy as np, keras
from keras import layers

class Loud(keras.layers.Layer):
    def call(self, x):
        print("called")
        self.add_loss(0.01 * keras.ops.mean(x ** 2))
        return x * (1 + 0 * random.random() + 0 * np.random.rand())

keras.utils.set_random_seed(1)
parts = [keras.Input((10,)), layers.Dense(32, activation="relu"), layers.BatchNormalization(), Loud(),
         layers.Dropout(0.3), layers.GaussianNoise(0.1), layers.Dense(4, activation="softmax")]
model = keras.Sequential(parts)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **OPTIONS)
x, y = np.random.normal(size=(256, 10)).astype("float32"), np.random.randint(0, 4, 256)
history = model.fit(x, y, batch_size=32, epochs=3, verbose=0)
for rows in range(0, 256, 64):
    model.train_on_batch(x[rows:rows + 64], y[rows:rows + 64])
state = [v.numpy().tobytes() for v in (*model.variables, *model.optimizer.variables, *model.metrics_variables)]
print(len(state), hashlib.sha256(b"".join(state)).hexdigest())
print(history.history, random.random(), np.random.rand(), keras.random.normal((2,)).__array__())
print(layers.Dense(1).name, [len(layer._losses) + len(layer._loss_ids) for layer in model.layers])
"""

#: A classifier of ten classes that could learn, whose head and loss are filled in.
CLASSIFIER = """
import numpy as np, keras
from keras import layers
keras.utils.set_random_seed(0)
r = np.random.default_rng(0)
centres = r.normal(size=(10, 20)) * 2
y = r.integers(0, 10, 2048)
x = (centres[y] + r.normal(size=(2048, 20))).astype("float32")
model = keras.Sequential([keras.Input((20,)), layers.Dense(64, activation="relu"), HEAD])
model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=LOGITS))
model.fit(x, y, batch_size=32, epochs=6, verbose=0)
"""

DEAD = """
import numpy as np, keras
from keras import layers
keras.utils.set_random_seed(0)
r = np.random.default_rng(0)
x, y = r.normal(size=(2048, 10)).astype("float32"), r.normal(size=(2048, 1)).astype("float32")
dying = layers.Dense(32, activation="relu", bias_initializer=keras.initializers.Constant(-100.0))
model = keras.Sequential([keras.Input((10,)), layers.Dense(32, activation="relu"), dying, layers.Dense(1)])
model.compile(keras.optimizers.SGD(1e-2), "mse")
model.fit(x, y, batch_size=64, epochs=4, verbose=0)
"""

SATURATED = """
import numpy as np, keras
from keras import layers
keras.utils.set_random_seed(0)
r = np.random.default_rng(0)
x = r.normal(size=(1024, 10)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
hidden = [layers.Dense(32, activation="sigmoid") for _ in range(10)]
model = keras.Sequential([keras.Input((10,)), *hidden, layers.Dense(1, activation="sigmoid")])
model.compile(keras.optimizers.SGD(1e-2), "binary_crossentropy")
model.fit(x, y, batch_size=32, epochs=4, verbose=0)
"""


def run(script: str, directory: Path, backend: str, *, watched: bool = True) -> subprocess.CompletedProcess[str]:
    directory.mkdir(exist_ok=True)
    (directory / "train.py").write_text(script)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TRIMTAB_")},
        "KERAS_BACKEND": backend,
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TRIMTAB_QUIET": "1",
    }
    ours = ["-m", "trimtab", "run"] if watched else []
    command = [sys.executable, *ours, "train.py"]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done


def record_of(script: str, directory: Path, backend: str) -> Record:
    run(script, directory, backend)
    record = the_record(directory)
    assert "trimtab_error" not in set(map(str, record.events().get("kind", ())))
    return record


def the_record(directory: Path) -> Record:
    return Record.open(next(path for path in (directory / ".trimtab").iterdir() if path.is_dir()))


def found(record: Record) -> dict[str, set[str]]:
    """The causes of each trouble that was found."""
    return {finding.kind: {cause.cause for cause in finding.causes} for finding in findings.judge(record).findings}


def rows(record: Record, step: int) -> list[dict[str, Any]]:
    columns = record.series()[0].modules(step)
    return [{name: values[i] for name, values in columns.items()} for i in range(len(columns["call"]))]


@pytest.fixture(scope="module")
def torch_record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    pytest.importorskip("torch")
    return record_of(IN_TORCH, tmp_path_factory.mktemp("torch"), "")


@pytest.fixture(scope="module", params=BACKENDS)
def keras_record(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return record_of(IN_KERAS, tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("step", [0, 1])
def test_modules_have_the_numbers_of_the_same_training_in_torch(
    torch_record: Record, keras_record: Record, step: int
) -> None:
    theirs = [row for row in rows(torch_record, step) if row["kind"] not in ("AdaptiveAvgPool2d", "Flatten")]
    ours = [row for row in rows(keras_record, step) if row["kind"] != "GlobalAveragePooling2D"]
    assert [row["module"] for row in ours] == [
        *("conv2d", "conv2d/activation", "batch_normalization", "dense", "dense/activation"),
        *("dense_1", "activation", "dense_2"),
    ]
    for mine, other in zip(ours, theirs, strict=True):
        for name in set(other) - {"process", "optimizer", "step", "call", "module", "kind"}:
            assert same(mine.get(name), other[name]), (mine["module"], name, mine.get(name), other[name])
    activations = [row["kind"] for row in ours if not row["weighted"]]
    assert activations == ["ReLU", "BatchNormalization", "Tanh", "Sigmoid"]


def test_losses_have_the_numbers_of_the_same_training_in_torch(torch_record: Record, keras_record: Record) -> None:
    theirs, ours = torch_record.series()[0].losses, keras_record.series()[0].losses
    refused = {"labels_beyond"}  # torch raises where a label is of no class
    for name in set(theirs) - {"process", "optimizer", "leftover_grad_norm"} - refused:
        for mine, other in zip(ours[name], theirs[name], strict=True):
            assert same(mine, other), (name, mine, other)


def test_the_loss_is_that_of_the_step_it_is_recorded_with(keras_record: Record) -> None:
    series = keras_record.series()[0]
    steps = list(series.steps["step"])
    assert list(series.losses["step"][:2]) == [0, 1]
    for step, value in zip(series.losses["step"], series.losses["value"], strict=True):
        assert value == pytest.approx(series.steps["loss"][steps.index(step)], rel=1e-5)


def same(mine: Any, other: Any) -> bool:
    if isinstance(other, (float, np.floating)):
        unmeasured = bool(np.isnan(other))
        return bool(np.isnan(mine)) == unmeasured and (unmeasured or mine == pytest.approx(other, rel=1e-5, abs=1e-6))
    return bool(mine == other)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", ["{}", "{'run_eagerly': True}", "{'steps_per_execution': 3}"])
def test_a_probe_changes_nothing(tmp_path: Path, backend: str, options: str) -> None:
    script = ALL_STATE.replace("OPTIONS", options)
    plain = run(script, tmp_path / "plain", backend, watched=False)
    watched = run(script, tmp_path / "watched", backend)
    assert watched.stdout == plain.stdout
    assert len(the_record(tmp_path / "watched").series()[0].losses["step"]) >= 2


def test_softmax_before_a_loss_that_applies_it_is_found(tmp_path: Path) -> None:
    """On JAX. On TensorFlow Keras sees the softmax and goes round it, so that nothing is wrong."""
    pytest.importorskip("jax")
    script = CLASSIFIER.replace("HEAD", "layers.Dense(10, activation='softmax')").replace("LOGITS", "True")
    record = record_of(script, tmp_path, "jax")
    losses = record.series()[0].losses
    assert set(losses["kind"]) == {"cross_entropy"}
    assert set(losses["output_after"]) == {"softmax"}
    assert set(losses["rows_sum_to_one"]) == {1.0}
    assert any("output-activation-mismatch" in causes for causes in found(record).values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_before_a_loss_that_wants_it_is_right(tmp_path: Path, backend: str) -> None:
    script = CLASSIFIER.replace("HEAD", "layers.Dense(10, activation='softmax')").replace("LOGITS", "False")
    record = record_of(script, tmp_path, backend)
    losses = record.series()[0].losses
    assert set(losses["kind"]) == {"nll"}
    assert losses["output_max"].max() <= 0
    assert not any("output-activation-mismatch" in causes for causes in found(record).values())


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_before_a_loss_that_wants_probabilities_are_told_from_them(tmp_path: Path, backend: str) -> None:
    script = CLASSIFIER.replace("HEAD", "layers.Dense(10)").replace("LOGITS", "False")
    losses = record_of(script, tmp_path, backend).series()[0].losses
    assert set(losses["kind"]) == {"nll"}
    assert set(losses["output_after"]) == {"none"}
    assert losses["output_max"][0] > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dead_layer_is_found(tmp_path: Path, backend: str) -> None:
    record = record_of(DEAD, tmp_path, backend)
    assert "dead-units" in found(record)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stack_of_sigmoids_is_found(tmp_path: Path, backend: str) -> None:
    record = record_of(SATURATED, tmp_path, backend)
    assert "saturating-activation" in found(record)["vanishing-gradient"]


LOOP = """
import numpy as np, keras
import tensorflow as tf
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
optimizer = keras.optimizers.SGD(0.01)
x = np.ones((8, 4), "float32")
for _ in range(3):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x) ** 2)
    optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
"""


def test_a_loop_of_the_script_says_that_its_modules_are_not_seen(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    record = record_of(LOOP, tmp_path, "tensorflow")
    unseen = [data for kind, data in zip(*map(record.events().get, ("kind", "data")), strict=True) if kind == "unseen"]
    assert sum("outputs of layers" in str(data) for data in unseen) == 1


#: Two outputs, half precision with a loss scaler, functions as activations, a loss of the model's own.
MANY_FORMS = """
import numpy as np, keras
from keras import layers, ops
keras.utils.set_random_seed(0)
r = np.random.default_rng(0)
x = r.normal(size=(64, 10)).astype("float32")

class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.head = layers.Dense(16), layers.Dense(1)
    def call(self, x):
        return self.head(ops.relu(self.first(x)))

class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = layers.Dense(10)
    def call(self, x):
        y = self.head(x)
        self.add_loss(ops.mean((y - x) ** 2))
        return y

inputs = keras.Input((10,))
outputs = {"a": layers.Dense(1, name="a")(inputs), "b": layers.Dense(3, activation="softmax", name="b")(inputs)}
two = keras.Model(inputs, outputs)
two.compile("sgd", {"a": "mse", "b": "sparse_categorical_crossentropy"})
two.fit(x, {"a": r.normal(size=64) * 30, "b": r.integers(0, 3, 64)}, verbose=0)

net = Net()
net.compile("sgd", "mse")
net.fit(x, r.normal(size=64), verbose=0)

own = Own()
own.compile("sgd")
own.fit(x, verbose=0)

keras.mixed_precision.set_global_policy("mixed_float16")
half = keras.Sequential([keras.Input((10,)), layers.Dense(8, activation="relu"), layers.Dense(1, dtype="float32")])
half.compile("sgd", keras.losses.MeanSquaredError())
half.fit(x, 1e-3 * r.normal(size=(64, 1)), verbose=0)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_models_of_many_forms_are_seen(tmp_path: Path, backend: str) -> None:
    record = record_of(MANY_FORMS, tmp_path, backend)
    two, net, own, half = record.series()
    assert set(two.losses["kind"]) == {"mse"}  # the larger loss
    assert {str(m): str(k) for m, k in zip(two.modules(0)["module"], two.modules(0)["kind"], strict=True)} == {
        "a": "Dense",
        "b": "Dense",
        "b/activation": "Softmax",
    }
    assert list(net.modules(0)["in_after"]) == [None, "relu"]
    assert not net.losses["shapes_differ"].any()
    assert not len(own.losses.get("kind", ()))
    assert (own.modules(0)["grad_rms"] > 0).all()
    assert len(half.modules(0)["call"]) == 3
    by_hand = 2 / 32 * np.sqrt(half.losses["value"][0])  # root mean square of 2 (y - t) / n, the scaler's factor undone
    assert half.modules(0)["grad_rms"][-1] == pytest.approx(by_hand, rel=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_a_batch_that_is_too_large_some_rows_are_seen(tmp_path: Path, backend: str) -> None:
    small = "import keras, trimtab.frameworks.keras._probe as probe\nprobe.MOST_ENTRIES = 10_000\n"
    record = record_of(small + IN_KERAS, tmp_path, backend)
    used = set(map(int, record.series()[0].losses["rows"]))
    assert len(used) == 1
    assert 0 < used.pop() < 32
    assert (record.series()[0].modules(0)["elements"] <= 10_000).all()
    assert any("rows of a batch" in str(data) for data in record.events()["data"])


LABELS = """
import numpy as np, keras
from keras import layers
keras.utils.set_random_seed(0)
r = np.random.default_rng(0)
x = r.normal(size=(512, 8)).astype("float32")
y = x[:, :4].argmax(1)
y = np.where(np.arange(512) % 8 == 0, OTHER, y)
model = keras.Sequential([keras.Input((8,)), layers.Dense(16, "relu"), layers.Dense(4, "softmax")])
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(IGNORE))
model.fit(x, y, WEIGHTS epochs=12, verbose=0)
"""


def with_labels(other: str, ignore: str = "", weights: str = "") -> str:
    return LABELS.replace("OTHER", other).replace("IGNORE", ignore).replace("WEIGHTS", weights)


@pytest.mark.parametrize("other", ["-1", "y + 4"])
def test_labels_of_no_class_are_told_though_the_loss_falls(tmp_path: Path, other: str) -> None:
    """On JAX; TensorFlow and PyTorch refuse them on a CPU."""
    pytest.importorskip("jax")
    record = record_of(with_labels(other), tmp_path, "jax")
    losses = record.series()[0].losses
    assert losses["labels_beyond"].mean() == pytest.approx(1 / 8, abs=0.1)
    assert losses["value"][-1] < losses["value"][0]
    assert "labels-invalid" in found(record)["slow-loss"]


@pytest.mark.parametrize(("ignore", "weights"), [("ignore_class=-1", ""), ("", "sample_weight=(y >= 0).astype('f'),")])
def test_labels_that_are_masked_are_left_in_peace(tmp_path: Path, ignore: str, weights: str) -> None:
    pytest.importorskip("jax")
    record = record_of(with_labels("-1", ignore, weights), tmp_path, "jax")
    assert not np.isfinite(record.series()[0].losses.get("labels_beyond", np.array([np.nan]))).any()
    assert not any("labels-invalid" in causes for causes in found(record).values())


def test_labels_that_xla_does_not_refuse_are_told_as_the_cause_of_the_nan(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    compiled = with_labels("y + 4").replace("Crossentropy())", "Crossentropy(), jit_compile=True)")
    record = record_of(compiled, tmp_path, "tensorflow")
    assert "labels-invalid" in found(record)["non-finite"]


def test_a_nan_that_a_relu_hides_is_told_of_the_batch_and_of_the_weights(tmp_path: Path) -> None:
    """TensorFlow's answers 0 to NaN on a CPU: loss and gradients stay finite, and the first weights do not."""
    pytest.importorskip("tensorflow")
    poisoned = with_labels("y").replace("y = np.where", "x[200, 3] = np.nan\ny = np.where")
    record = record_of(poisoned, tmp_path, "tensorflow")
    (finding,) = (each for each in findings.judge(record).findings if each.kind == "non-finite")
    assert finding.severity == "fatal"
    assert [cause.cause for cause in finding.causes] == ["bad-batch"]
