"""What Keras' layers, activations and losses are in the words of the record, which every framework's runs share."""

from __future__ import annotations

from typing import Any

ACTIVATIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "hardswish": "Hardswish",
    "sigmoid": "Sigmoid",
    "hardsigmoid": "Hardsigmoid",
    "logsigmoid": "LogSigmoid",
    "tanh": "Tanh",
    "hardtanh": "Hardtanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "softshrink": "Softshrink",
    "hardshrink": "Hardshrink",
    "threshold": "Threshold",
    "glu": "GLU",
    "softmax": "Softmax",
    "log_softmax": "LogSoftmax",
}
"""The column in_after -> the column kind of a module that does the same."""

_SPELLINGS = {
    "swish": "silu",
    "hard_sigmoid": "hardsigmoid",
    "hard_silu": "hardswish",
    "hard_swish": "hardswish",
    "hard_tanh": "hardtanh",
    "log_sigmoid": "logsigmoid",
    "soft_sign": "softsign",
    "soft_shrink": "softshrink",
    "hard_shrink": "hardshrink",
}

RECURRENT = {"SimpleRNN": "RNN", "SimpleRNNCell": "RNNCell"}

#: Layers that are no weighted operation whatever the shape of their weights.
_SCALES = ("PReLU", "Normalization", "Norm")

# What becomes of a layer's input, in the words of `_probe_graph`.
_MOVES = "Flatten Reshape Permute RepeatVector Identity Cropping1D Cropping2D Cropping3D"
_CHANGES = """
    BatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization Dropout SpatialDropout1D
    SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise AlphaDropout MaxPooling1D MaxPooling2D MaxPooling3D
    AveragePooling1D AveragePooling2D AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    UpSampling1D UpSampling2D UpSampling3D Rescaling ActivityRegularization
"""
PASSING = dict.fromkeys(_MOVES.split(), "move") | dict.fromkeys(_CHANGES.split(), "change")

_LOSSES = {
    "categorical_crossentropy": ("nll", "cross_entropy"),
    "sparse_categorical_crossentropy": ("nll", "cross_entropy"),
    "binary_crossentropy": ("bce", "bce_logits"),
    "mean_squared_error": ("mse", "mse"),
    "mean_absolute_error": ("l1", "l1"),
    "huber": ("huber", "huber"),
    "kl_divergence": ("kl_div", "kl_div"),
}
"""A loss function -> the column kind without and with `from_logits`."""


def activation_name(function: Any) -> str | None:
    """As the column in_after names it; None for what is not known."""
    name = str(getattr(function, "__name__", ""))
    name = _SPELLINGS.get(name, name)
    return name if name in ACTIVATIONS else None


def activation_of(layer: Any) -> str | None:
    """The activation that a layer is, None where it is none or a function that is not known."""
    kind = type(layer).__name__
    if kind == "Activation":
        return activation_name(layer.activation)
    if kind == "ReLU":
        return _relu(layer)
    return {"LeakyReLU": "leaky_relu", "PReLU": "prelu", "ELU": "elu", "Softmax": "softmax"}.get(kind)


def kind_of(layer: Any) -> str:
    name = type(layer).__name__
    return RECURRENT.get(name, ACTIVATIONS.get(activation_of(layer) or "", name))


def is_weighted(layer: Any, weights: list[Any]) -> bool:
    """It multiplies by a weight of two or more axes."""
    return not type(layer).__name__.endswith(_SCALES) and any(len(weight.shape) >= 2 for weight in weights)


def loss_kind(loss: Any, *, from_logits: bool) -> str:
    function = getattr(loss, "fn", None)
    if not str(getattr(function, "__module__", "")).startswith("keras."):
        return "unknown"
    return _LOSSES.get(str(getattr(function, "__name__", "")), ("unknown", "unknown"))[from_logits]


def _relu(layer: Any) -> str | None:
    if layer.negative_slope:
        return "leaky_relu"
    if layer.threshold:
        return "threshold"
    return {None: "relu", 6: "relu6"}.get(layer.max_value)
