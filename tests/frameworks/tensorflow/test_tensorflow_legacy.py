"""Keras 2 (`tf_keras`) under watch: its record against what the training says itself, and its weights against plain."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tf_keras = pytest.importorskip("tf_keras")

from tests.frameworks._kept import KeptSession  # noqa: E402

from trimtab.frameworks import tensorflow as adapter  # noqa: E402

X = np.random.default_rng(0).normal(size=(96, 8)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 96)
WAYS: dict[str, dict[str, Any]] = {
    "graph": {},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "many steps": {"steps_per_execution": 4},
}


@pytest.fixture
def watched(session: KeptSession) -> Iterator[KeptSession]:
    watch = adapter.attach_legacy_keras(session)
    yield session
    watch.detach()


def network(optimizer: Any, **how: Any) -> Any:
    """Compiled by XLA it drops nothing: the seeds there go on from training to training of one process."""
    tf_keras.utils.set_random_seed(3)
    dropout = 0.0 if how.get("jit_compile") else 0.2
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Dense(16, "relu", input_shape=(8,)), layers.Dropout(dropout), layers.Dense(3)])
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], **how)
    return model


def fitted(optimizer: Any, how: str, epochs: int = 3) -> tuple[bytes, list[float]]:
    model = network(optimizer, **WAYS[how])
    history = model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0)
    return b"".join(w.tobytes() for w in model.get_weights()), history.history["loss"]


@pytest.mark.parametrize("how", WAYS)
def test_every_step_and_the_weights_as_plain(session: KeptSession, how: str) -> None:
    plain, _ = fitted(tf_keras.optimizers.Adam(0.01), how)
    watch = adapter.attach_legacy_keras(session)
    weights, losses = fitted(tf_keras.optimizers.Adam(0.01), how)
    session.finish()
    watch.detach()
    assert weights == plain
    rows = session.table("steps")
    assert [row["step"] for row in rows] == list(range(36))
    means = np.array([row["loss"] for row in rows]).reshape(3, 12).mean(1)
    np.testing.assert_allclose(means, losses, rtol=1e-5)
    assert {row["backwards"] for row in rows} == {1}
    assert rows[0]["sampled"]
    named = [row["tensor"] for row in session.table("tensors") if row["step"] == 0]
    assert [name.rpartition("/")[2] for name in named] == ["kernel", "bias", "kernel", "bias"]
    assert [m["name"] for m in session.metrics] == ["accuracy"] * 3
    assert session.facts["optimizers"][0]["class"] == "tf_keras.optimizers.Adam"


def test_norms_and_samples_of_the_first_step(watched: KeptSession) -> None:
    model = network(tf_keras.optimizers.SGD(0.1, global_clipnorm=0.01))
    with tf.GradientTape() as tape:
        loss = model.compiled_loss(tf.constant(Y[:8]), model(tf.constant(X[:8]), training=False))
    grads = [g.numpy().astype(np.float64) for g in tape.gradient(loss, model.trainable_variables)]
    before = [w.astype(np.float64) for w in model.get_weights()]
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.Dropout):
            layer.rate = 0.0
    model.train_on_batch(X[:8], Y[:8])
    changes = [np.linalg.norm(a - b) for a, b in zip(model.get_weights(), before, strict=True)]
    watched.finish()
    rows = watched.table("tensors")
    assert len(rows) == 4
    total = np.sqrt(sum(np.square(g).sum() for g in grads))
    for row, gradient, weight, change in zip(rows, grads, before, changes, strict=True):
        norm = np.linalg.norm(gradient)
        assert row["grad_norm_raw"] == pytest.approx(norm, rel=1e-5)
        assert row["grad_norm"] == pytest.approx(norm * 0.01 / total, rel=1e-5)
        assert row["weight_norm"] == pytest.approx(np.linalg.norm(weight), rel=1e-5, abs=1e-12)
        assert row["update_norm"] == pytest.approx(change, rel=1e-3, abs=1e-9)
        assert row["grad_zeros"] == np.count_nonzero(gradient == 0)


def test_learning_rate_of_every_step(watched: KeptSession) -> None:
    schedule = tf_keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    fitted(tf_keras.optimizers.SGD(schedule), "graph", epochs=1)
    watched.finish()
    rates = [row["lr"] for row in watched.table("steps")[:4]]
    assert rates == pytest.approx([0.1, 0.05, 0.025, 0.0125])


def test_the_older_optimizers(watched: KeptSession) -> None:
    fitted(tf_keras.optimizers.legacy.Adam(0.01, decay=1.0), "graph", epochs=1)
    watched.finish()
    rows = watched.table("steps")
    assert [row["lr"] for row in rows[:3]] == pytest.approx([0.01, 0.005, 0.01 / 3])
    first = watched.table("tensors")[0]
    assert first["g2_over_v"] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_a_loss_scaler(watched: KeptSession, kind: str) -> None:
    """The first factor is too large for gradients of such inputs: steps are withheld until it is not."""
    inner = (tf_keras.optimizers if kind == "optimizers" else tf_keras.optimizers.legacy).SGD(0.01)
    scaler = tf_keras.mixed_precision.LossScaleOptimizer(inner, initial_scale=2.0**127)
    model = network(scaler)
    model.fit(1000 * X, Y, batch_size=8, verbose=0)
    watched.finish()
    rows = watched.table("steps")
    assert len(rows) == 12
    assert rows[0]["loss_scale"] == 2.0**127
    taken = [row for row in rows if not row["skipped"]]
    assert 0 < len(taken) < 12
    assert all(1 < row["loss"] < 1e5 and 1 < row["grad_norm"] < 1e5 for row in taken)


def test_a_nan_is_told_with_the_tensors_that_hold_it(watched: KeptSession) -> None:
    """One row of the third batch holds NaN; the relu behind the first layer makes zeros of it."""
    inputs = np.where(np.arange(96)[:, None] == 20, np.nan, X).astype(np.float32)
    network(tf_keras.optimizers.SGD(0.1)).fit(inputs, Y, batch_size=8, verbose=0, shuffle=False)
    watched.finish()
    assert [row["nonfinite"] for row in watched.table("steps")[:3]] == [0, 0, 1]
    (event,) = [data for kind, data in watched.events if kind == "nonfinite"]
    assert event["loss_finite"] is True
    assert [name.rpartition("/")[2] for name in event["tensors"]] == ["kernel"]


def test_a_sparse_gradient(watched: KeptSession) -> None:
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential([layers.Embedding(50, 4, input_length=3), layers.Flatten(), layers.Dense(1)])
    model.compile(tf_keras.optimizers.SGD(0.1), "mse")
    words, values = np.array([[1, 1, 7], [7, 9, 1]]), np.array([[1.0], [2.0]], np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(words) - values))
    dense = tf.convert_to_tensor(tape.gradient(loss, model.trainable_variables)[0]).numpy()
    model.train_on_batch(words, values)
    watched.finish()
    first = watched.table("tensors")[0]
    assert first["grad_norm"] == pytest.approx(np.linalg.norm(dense), rel=1e-5)
