"""What a transformation is made of, read from its functions."""

from __future__ import annotations

from typing import Any

import pytest

optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402

from trimtab.frameworks.optax._names import named_leaves  # noqa: E402
from trimtab.frameworks.optax._pieces import class_of, is_optimizer, pieces_of, settings_of  # noqa: E402

MADE = {
    "optax.adam": lambda: optax.adam(1e-3),
    "optax.adamw": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=0.1)),
    "optax.nadam": lambda: optax.nadam(1e-3),
    "optax.sgd": lambda: optax.apply_if_finite(optax.sgd(0.1, momentum=0.9), 3),
    "optax.rmsprop": lambda: optax.rmsprop(1e-3),
    "optax.lion": lambda: optax.MultiSteps(optax.lion(1e-3), 4).gradient_transformation(),
    "optax.lbfgs": lambda: optax.lbfgs(),
    "optax.adafactor": lambda: optax.inject_hyperparams(optax.adafactor)(1e-3),
}


@pytest.mark.parametrize("name", MADE)
def test_its_class(name: str) -> None:
    pieces = pieces_of(MADE[name]()[1])
    assert class_of(pieces) == name
    assert is_optimizer(pieces)


def test_its_settings() -> None:
    settings = settings_of(pieces_of(MADE["optax.adamw"]()[1]))
    assert settings["pieces"] == ["clip_by_global_norm", "scale_by_adam", "add_decayed_weights", "scale"]
    assert (settings["betas"], settings["weight_decay"], settings["max_norm"]) == ([0.9, 0.999], 0.1, 1.0)
    assert settings_of(pieces_of(MADE["optax.sgd"]()[1]))["momentum"] == 0.9


def test_a_cycle_ends() -> None:
    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return cycle[0].update(updates, state, params)

    cycle = [optax.GradientTransformation(lambda params: (), update)]
    assert class_of(pieces_of(update)).startswith("optax.")


def test_names() -> None:
    assert named_leaves({"params": {"Dense_0": {"kernel": 1}}, "b": [2, (3,)]})[0] == [
        "b/0",
        "b/1/0",
        "params/Dense_0/kernel",
    ]
    assert named_leaves(jnp.ones(2))[0] == ["params"]
