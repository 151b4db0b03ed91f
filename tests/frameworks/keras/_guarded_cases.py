"""Small guarded trainings in Keras, and the same without a guard, on the backend that KERAS_BACKEND names.

test_guarded_keras.py runs them in a process of its own, since a process has one backend:

    python -m tests.frameworks.keras._guarded_cases OUT.json
"""

from __future__ import annotations

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
BATCHES, BATCH, BAD = 6, 8, 3
#: How the steps are run.
WAYS: dict[str, dict[str, Any]] = {
    "tensorflow": {
        "compiled": {"jit_compile": True},
        "graph": {"jit_compile": False},
        "eager": {"run_eagerly": True},
    },
    "jax": {"compiled": {}},
    "torch": {"eager": {}},
}.get(BACKEND, {})
QUIET = ("skip=nonfinite", "skip=spike")
IDLE = (*QUIET, "clip=adagc:1e6,max_norm=1e6", "clip=value:1e6")
CLIPS = {
    "clip=global:0.1,epsilon=0": "global_clipnorm",
    "clip=tensor:0.1,epsilon=0": "clipnorm",
    "clip=value:0.1": "clipvalue",
}


def data(bad: float = 1.0) -> tuple[Any, Any]:
    """Batches in their order; the targets of the one at BAD are `bad` times too large."""
    draw = np.random.RandomState(0)
    x, y = draw.randn(BATCHES, BATCH, 5).astype("float32"), draw.randn(BATCHES, BATCH, 3).astype("float32")
    y[BAD] *= bad
    return x, y


def optimizers() -> dict[str, Callable[[], Any]]:
    from keras import optimizers as o

    return {
        "adamw": lambda: o.AdamW(0.01, weight_decay=0.1, use_ema=True),
        "momentum": lambda: o.SGD(0.02, momentum=0.9, nesterov=True),
        "accumulated": lambda: o.Adam(0.01, gradient_accumulation_steps=2),
        "scaled": lambda: o.LossScaleOptimizer(o.Adam(0.01), initial_scale=1024.0),
    }


def net(optimizer: Any, **options: Any) -> Any:
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    first = layers.Dense(7, activation="tanh", name="first", kernel_regularizer="l2")
    model = keras.Sequential([keras.Input((5,)), first, layers.Dense(3, name="second")])
    model.compile(optimizer, loss="mse", **options)
    return model


def fit(model: Any, batches: Any, leave_out: Any = ()) -> Any:
    x, y = (np.concatenate([each[i] for i in range(BATCHES) if i not in leave_out]) for each in batches)
    return model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0).history["loss"]


def left(model: Any) -> list[Any]:
    """All weights, and what the optimizer keeps, but for what the guard does."""
    kept = [v for v in model.optimizer.variables if "trimtab" not in v.path]
    return [np.asarray(v.numpy(), np.float64).tolist() for v in (*model.trainable_variables, *kept)]


def trained(optimizer: Any, bad: float = 1.0, leave_out: Any = (), **options: Any) -> Any:
    model = net(optimizer, **options)
    fit(model, data(bad), leave_out)
    return left(model)


def cases() -> list[tuple[str, str, dict[str, Any]]]:
    """Ways and optimizers: the dearer ones are tried in one way."""
    first = next(iter(WAYS))
    return [
        (way, name, options)
        for way, options in WAYS.items()
        for name in optimizers()
        if way == first or name == "adamw" or (way, name) == ("graph", "accumulated")
    ]


def plain() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for way, name, options in cases():
        make, without = optimizers()[name], (2, 3) if name == "accumulated" else (BAD,)
        found[f"{way} {name}"] = trained(make(), **options)
        found[f"{way} {name} without"] = trained(make(), leave_out=without, **options)
    found |= {policy: trained(_sgd(**{own: 0.1})) for policy, own in CLIPS.items()}
    return found | {"saved": _saved(optimizers()["adamw"]())}


def _sgd(**options: Any) -> Any:
    import keras

    return keras.optimizers.SGD(0.1, **options)


def _saved(optimizer: Any) -> Any:
    """What a training leaves in a file, and what comes of it there."""
    import h5py
    import keras

    model = net(optimizer)
    fit(model, data())
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/whole.keras")
        model.save_weights(f"{folder}/part.weights.h5")
        again = keras.saving.load_model(f"{folder}/whole.keras")
        names: list[str] = []
        with h5py.File(f"{folder}/part.weights.h5") as file:
            file.visit(names.append)
        fit(again, data())
    return [sorted(names), left(again)]


class Guarded:
    """Trainings under watch, each with policies of its own."""

    def __init__(self) -> None:
        self.session = KeptSession(None)
        for framework in (BACKEND, "keras"):
            importlib.import_module(framework)
            watch = importlib.import_module(f"trimtab.frameworks.{framework}").attach(self.session)
        self.guards = watch.guards

    def train(self, optimizer: Any, policies: Any, bad: float = 1.0, **options: Any) -> dict[str, Any]:
        return self.record(lambda: trained(self.guarded(optimizer, *policies), bad, **options))

    def guarded(self, optimizer: Any, *policies: Any) -> Any:
        from trimtab.policies import guarding

        self.guards.set(getattr(optimizer, "inner_optimizer", optimizer), guarding(policies))
        return optimizer

    def record(self, case: Callable[[], Any]) -> dict[str, Any]:
        session = self.session
        known, said = len(session.facts.get("optimizers", ())), len(session.events)
        returned = case()
        for callback in session._at_exit:
            callback()
        errors, session.errors = session.errors, []
        return {
            "left": returned,
            "errors": errors,
            "steps": [row for row in session.table("steps") if row["optimizer"] >= known],
            "guard": [row for row in session.table("guard") if row["optimizer"] >= known],
            "tensors": [row for row in session.table("tensors") if row["optimizer"] >= known],
            "policies": [info.get("policies") for info in session.facts["optimizers"][known:]],
            "unseen": [event for kind, event in session.events[said:] if kind == "unseen"],
        }


def guarded() -> dict[str, Any]:
    at = Guarded()
    found: dict[str, Any] = {}
    for way, name, options in cases():
        make = optimizers()[name]
        idle = IDLE if name == "adamw" else QUIET
        found[f"{way} {name}"] = at.train(make(), idle, **options)
        found[f"{way} {name} without"] = at.train(make(), QUIET, 1e6 if name == "scaled" else np.nan, **options)
    found |= {policy: at.train(_sgd(), [policy]) for policy in CLIPS}
    found["own clip"] = at.train(_sgd(clipnorm=0.01), ["clip=global:0.1"])
    found["agc"] = at.train(_sgd(), ["clip=agc:0.001"])
    found["scaled and clipped"] = at.train(optimizers()["scaled"](), ["clip=global:0.1"])
    found["saved"] = _saved(at.guarded(optimizers()["adamw"](), *QUIET))
    found["fails"] = at.train(_sgd(), [_failing()])
    found["on the host"] = at.train(_sgd(), ["recover=rollback"])
    found["lost"] = at.record(lambda: _lost(at))
    return found


def _failing() -> Any:
    from dataclasses import replace

    from trimtab.policies import parse_policy

    def decide(*_: Any) -> Any:
        raise RuntimeError("planted")

    return replace(parse_policy("clip=global"), decide=decide)


def _lost(at: Guarded) -> None:
    """Weights that are NaN from the first step on."""
    model = net(at.guarded(_sgd(), *QUIET))
    model.set_weights([w * np.nan for w in model.get_weights()])
    x, y = data()
    for _ in range(10):
        fit(model, (x, y))


def main() -> None:
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"plain": plain(), "guarded": guarded()}, file)


if __name__ == "__main__":
    main()
