"""What run.json says of a Keras optimizer, in the words that other frameworks' optimizers use."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .._series import fan_in_of

# Keras' names of settings that other frameworks have too.
_SAME = {"epsilon": "eps", "rho": "alpha"}
_NOT_SETTINGS = {"self", "name", "learning_rate", "beta_1", "beta_2", "kwargs"}


def optimizer_class(optimizer: Any) -> str:
    """Its full name; of Keras' own the public one, whichever backend's variant it is."""
    kind = type(optimizer)
    package, _, rest = kind.__module__.partition(".")
    if package in ("keras", "tf_keras") and rest.startswith("src."):
        return f"{package}.optimizers.{kind.__name__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def settings(optimizer: Any) -> dict[str, Any]:
    """The arguments that it was built with, as far as it keeps them as plain values; without the learning rate."""
    return in_common_words({name: getattr(optimizer, name, None) for name in _arguments(type(optimizer))})


def in_common_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under the names that other frameworks use; without the learning rate."""
    found: dict[str, Any] = {
        _SAME.get(name, name): value
        for name, value in values.items()
        if name not in _NOT_SETTINGS and isinstance(value, bool | int | float | str)
    }
    betas = tuple(values.get(name) for name in ("beta_1", "beta_2"))
    if all(isinstance(beta, int | float) for beta in betas):
        found["betas"] = betas
    if "weight_decay" in found:
        found["decoupled_weight_decay"] = True
    return found


def loss_scale_settings(optimizer: Any) -> dict[str, Any]:
    return {"initial_loss_scale": optimizer.initial_scale} if hasattr(optimizer, "inner_optimizer") else {}


def tensors(variables: Sequence[Any], names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "shape": [int(n) for n in v.shape],
            "dtype": str(getattr(v.dtype, "name", v.dtype)),
            "trainable": bool(getattr(v, "trainable", True)),
            **fan_in_of(name, [int(n) for n in v.shape]),
        }
        for v, name in zip(variables, names, strict=True)
    ]


def census(roots: Sequence[Any]) -> dict[str, Any]:
    """`modules`: how many layers without layers inside of each class; `dropout`: the rate of each dropout layer."""
    layers = list({id(layer): layer for root in roots for layer in root._flatten_layers(include_self=True)}.values())
    leaves = [layer for layer in layers if not list(layer._flatten_layers(include_self=False))]
    return {
        "model": ", ".join(type(root).__name__ for root in roots),
        "modules": dict(Counter(type(leaf).__name__ for leaf in leaves if not _is_input(leaf))),
        "dropout": [float(leaf.rate) for leaf in leaves if _drops(leaf)],
    }


def _arguments(kind: type) -> list[str]:
    """Names of the arguments of a class and of those above it, which a `**kwargs` hands on."""
    names: dict[str, None] = {}
    for owner in kind.__mro__:
        if "__init__" in vars(owner) and owner is not object:
            names |= dict.fromkeys(inspect.signature(vars(owner)["__init__"]).parameters)
    return list(names)


def _is_input(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer"


def _drops(layer: Any) -> bool:
    return "Dropout" in type(layer).__name__ and isinstance(getattr(layer, "rate", None), int | float)
