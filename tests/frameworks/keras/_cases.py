"""Small trainings in Keras, on the backend that KERAS_BACKEND names, watched or plain.

test_keras.py runs them in a process of its own, since a process has one backend:

    python -m tests.frameworks.keras._cases watched|plain OUT.json
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from tests.frameworks._kept import KeptSession

BACKEND = os.environ.get("KERAS_BACKEND", "")
ROWS, BATCH, RATE = 48, 16, 0.1
TRACED = BACKEND != "torch"


def data() -> tuple[Any, Any]:
    draw = np.random.RandomState(0)
    return draw.randn(ROWS, 5).astype("float32"), draw.randn(ROWS, 3).astype("float32")


def weights() -> list[Any]:
    draw = np.random.RandomState(1)
    return [(0.5 * draw.randn(*shape)).astype("float32") for shape in ((5, 7), (7,), (7, 3), (3,))]


def watch() -> KeptSession:
    """Hook in as `trimtab run` does: into the backend before Keras is imported."""
    session = KeptSession(None)
    for framework in (BACKEND, "keras"):
        importlib.import_module(framework)
        importlib.import_module(f"trimtab.frameworks.{framework}").attach(session)
    return session


def net(optimizer: Any, **options: Any) -> Any:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(7, activation="tanh", name="first"), layers.Dense(3, name="second")]
    )
    model.set_weights(weights())
    model.compile(optimizer, loss="mse", **options)
    return model


def fit(model: Any, epochs: int = 1, **options: Any) -> Any:
    return model.fit(*data(), batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, **options)


def sgd(**options: Any) -> Any:
    import keras

    return keras.optimizers.SGD(options.pop("learning_rate", RATE), **options)


def scaled(scale: float, **options: Any) -> Any:
    import keras

    return keras.optimizers.LossScaleOptimizer(sgd(**options), initial_scale=scale)


def plain_steps() -> None:
    fit(net(sgd()), 2)


def adam() -> None:
    import keras

    fit(net(keras.optimizers.Adam(0.01, beta_2=0.9)))


def half_precision() -> None:
    """The weights themselves are bfloat16, and the steps so short that most round away."""
    import keras

    keras.config.set_dtype_policy("bfloat16")
    try:
        fit(net(sgd(learning_rate=2e-3)))
    finally:
        keras.config.set_dtype_policy("float32")


def clipnorm() -> None:
    fit(net(sgd(clipnorm=0.2)))


def global_clipnorm() -> None:
    fit(net(sgd(global_clipnorm=0.3)))


def clipvalue() -> None:
    fit(net(sgd(clipvalue=0.02)))


def accumulated() -> None:
    fit(net(sgd(gradient_accumulation_steps=3, global_clipnorm=0.3)), 2)


def loss_scaled() -> None:
    fit(net(scaled(1024.0)))


def withheld() -> None:
    """The gradients of targets so far away are beyond float32 once they are scaled."""
    x, y = data()
    net(scaled(2.0**127)).fit(x, 1000 * y, batch_size=BATCH, shuffle=False, verbose=0)


def loss_scale_factor() -> None:
    fit(net(sgd(loss_scale_factor=64.0)))


def schedule() -> None:
    import keras

    fit(net(sgd(learning_rate=keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5))))


def plateau() -> Any:
    import keras

    quits = keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=100.0)
    return fit(net(sgd()), 3, callbacks=[quits], validation_split=1 / 3).history


def metrics() -> Any:
    model = net(sgd(), metrics=["mae"])
    history = fit(model, 2, validation_split=1 / 3).history
    return {**history, "evaluated": [model.evaluate(*data(), verbose=0) for _ in range(2)]}


def batches() -> Any:
    """`train_on_batch`, with weights of rows and of classes."""
    import keras

    x, _ = data()
    labels = np.arange(ROWS) % 3
    model = net(sgd())
    model.compile(sgd(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rows = np.linspace(0.5, 2.0, BATCH).astype("float32")
    first = model.train_on_batch(x[:BATCH], labels[:BATCH], sample_weight=rows)
    model.reset_metrics()
    second = model.train_on_batch(x[:BATCH], labels[:BATCH], class_weight={0: 1.0, 1: 2.0, 2: 3.0})
    return [float(first), float(second)]


def several_outputs() -> Any:
    import keras

    given = keras.Input((5,))
    left, right = keras.layers.Dense(3, name="left")(given), keras.layers.Dense(3, name="right")(given)
    model = keras.Model(given, [left, right])
    model.compile(sgd(), loss=["mse", "mae"], loss_weights=[1.0, 0.5])
    x, y = data()
    return model.fit(x, [y, y], batch_size=ROWS, verbose=0).history["loss"]


def several_optimizers() -> None:
    import keras

    chosen = keras.optimizers.OptimizerMap(sgd(), {".*second.*": sgd(learning_rate=0.02)})
    fit(net(keras.optimizers.MultiOptimizer(chosen)))


def average() -> None:
    fit(net(sgd(use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)))


def own_apply() -> None:
    import keras

    class Own(keras.optimizers.SGD):
        def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
            return super().apply([g * 0.5 for g in grads], trainable_variables)

    fit(net(Own(RATE)))


def own_loop() -> None:
    """A training loop as the backend's users write it."""
    model, optimizer = net(sgd()), sgd()
    {"tensorflow": _loop_in_tensorflow, "jax": _loop_in_jax, "torch": _loop_in_torch}[BACKEND](model, optimizer)


def _loop_in_tensorflow(model: Any, optimizer: Any) -> None:
    import tensorflow as tf

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    x, y = data()
    for at in range(0, ROWS, BATCH):
        step(tf.constant(x[at : at + BATCH]), tf.constant(y[at : at + BATCH]))


def _loop_in_jax(model: Any, optimizer: Any) -> None:
    import jax

    optimizer.build(model.trainable_variables)
    fixed = [v.value for v in model.non_trainable_variables]

    def loss_of(trainable: Any, x: Any, y: Any) -> Any:
        return ((model.stateless_call(trainable, fixed, x)[0] - y) ** 2).mean()

    @jax.jit
    def step(trainable: Any, state: Any, x: Any, y: Any) -> Any:
        _, grads = jax.value_and_grad(loss_of)(trainable, x, y)
        return optimizer.stateless_apply(state, grads, trainable)

    trainable, state = [v.value for v in model.trainable_variables], [v.value for v in optimizer.variables]
    x, y = data()
    for at in range(0, ROWS, BATCH):
        trainable, state = step(trainable, state, x[at : at + BATCH], y[at : at + BATCH])


def _loop_in_torch(model: Any, optimizer: Any) -> None:
    import torch

    x, y = map(torch.tensor, data())
    for at in range(0, ROWS, BATCH):
        loss = ((model(x[at : at + BATCH]) - y[at : at + BATCH]) ** 2).mean()
        model.zero_grad()
        loss.backward()
        variables = model.trainable_weights
        with torch.no_grad():
            optimizer.apply([v.value.grad for v in variables], variables)


def old_spellings() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = sgd(decay=1e-6)
    optimizer.lr = 0.5
    fit(net(optimizer))


def callbacks() -> Any:
    """What a script's own callbacks see."""
    import keras

    seen: list[Any] = []

    class Own(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append([epoch, sorted(logs), sorted(self.params), len(chain.callbacks)])

    model, own = net(sgd()), Own()
    chain = keras.callbacks.CallbackList([own], add_history=True, model=model, epochs=2, steps=3, verbose=0)
    history = fit(model, 2, callbacks=chain)
    return [seen, [type(callback).__name__ for callback in chain.callbacks], sorted(history.history)]


def trained() -> Any:
    """Hashes of all that is left of trainings of many kinds."""
    import keras

    kinds: dict[str, Callable[[], Any]] = {
        "as it comes": lambda: _deep(keras.optimizers.Adam(0.01)),
        "clipped": lambda: _deep(keras.optimizers.AdamW(0.01, global_clipnorm=0.5)),
        "accumulated": lambda: _deep(sgd(momentum=0.9, gradient_accumulation_steps=2)),
        "averaged": lambda: _deep(sgd(use_ema=True)),
        "scaled": lambda: _deep(scaled(2.0**127, momentum=0.9), stretch=1000.0),
    }
    if TRACED:
        kinds |= {
            "compiled": lambda: _deep(keras.optimizers.Adam(0.01), jit_compile=True),
            "not compiled": lambda: _deep(keras.optimizers.Adam(0.01), jit_compile=False),
            "eager": lambda: _deep(keras.optimizers.RMSprop(0.01), run_eagerly=True),
            "several steps at once": lambda: _deep(keras.optimizers.Adam(0.01), steps_per_execution=4),
        }
    return {name: make() for name, make in kinds.items()}


def _deep(optimizer: Any, stretch: float = 1.0, **options: Any) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3),
        ]
    )
    model.compile(optimizer, loss="mse", metrics=["mae"], **options)
    x, y = data()
    history = model.fit(x, stretch * y, batch_size=4, epochs=2, validation_split=0.25, verbose=0).history
    with tempfile.TemporaryDirectory() as folder:
        hashes = [_hash([v.numpy() for v in (*model.variables, *model.optimizer.variables)])]
        model.save(f"{folder}/whole.keras")
        model.save_weights(f"{folder}/part.weights.h5")
        whole = keras.saving.load_model(f"{folder}/whole.keras")
        hashes.append(_hash([v.numpy() for v in (*whole.variables, *whole.optimizer.variables)]))
        hashes.append(_hash_of_file(f"{folder}/part.weights.h5"))
    return [history, hashes]


def _hash(arrays: list[Any]) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(repr(array.shape).encode() + array.tobytes())
    return total.hexdigest()


def _hash_of_file(path: str) -> str:
    """Of its tensors and their names: the format itself carries times."""
    import h5py

    found: list[tuple[str, Any]] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append((name, item[()])) if hasattr(item, "shape") else None)
    return _hash([value for _, value in sorted(found, key=lambda entry: entry[0])]) + repr(sorted(n for n, _ in found))


def broken() -> Any:
    """A training of which measuring fails at its first step."""
    from trimtab.frameworks.keras import _names

    def fail(*_: Any) -> Any:
        raise RuntimeError("planted")

    modules = [m for name, m in sys.modules.items() if name.startswith("trimtab.frameworks.keras")]
    for module in modules:
        if getattr(module, "roots_of", None) is _names.roots_of and module is not _names:
            module.roots_of = fail  # type: ignore[attr-defined]
    return fit(net(sgd()), 2).history["loss"]


CASES = (
    plain_steps, adam, half_precision, clipnorm, global_clipnorm, clipvalue, accumulated, loss_scaled, withheld,
    loss_scale_factor, schedule, plateau, metrics, batches, several_outputs, several_optimizers, average, own_apply,
    own_loop, old_spellings, callbacks, broken,
)  # fmt: skip


def _run(session: KeptSession, case: Callable[[], Any]) -> dict[str, Any]:
    """What a case returned and what was recorded of it."""
    known, said, logged = len(session.facts.get("optimizers", ())), len(session.events), len(session.metrics)
    returned = case()
    for callback in session._at_exit:
        callback()
    own = {
        name: [r for r in session.table(name) if r["optimizer"] >= known] for name in ("steps", "tensors", "modules")
    }
    errors, session.errors = session.errors, []
    return {
        "returned": returned,
        **own,
        "optimizers": session.facts.get("optimizers", [])[known:],
        "events": session.events[said:],
        "metrics": session.metrics[logged:],
        "errors": errors,
    }


def main() -> None:
    _, way, out = sys.argv
    if way == "plain":
        found: Any = {"trained": trained(), "callbacks": callbacks(), "broken": fit(net(sgd()), 2).history["loss"]}
    else:
        session = watch()
        found = {"trained": trained(), "errors": session.errors} | {
            case.__name__: _run(session, case) for case in CASES
        }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
