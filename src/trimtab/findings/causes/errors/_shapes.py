"""Shapes that do not fit together."""

from __future__ import annotations

from ...._language import t
from ._fits import SHAPE
from ._known_error import Groups, KnownError


def _features(groups: Groups) -> str:
    return t("the input has {got} features where {want} are expected", got=groups["got"], want=groups["want"])


def _layer_features(groups: Groups) -> str:
    return t(
        "layer {layer} expects {want} features and was given {got}",
        layer=groups["layer"],
        want=groups["want"],
        got=groups["got"],
    )


def _channels(groups: Groups) -> str:
    return t("the input has {got} channels where {want} are expected", got=groups["got"], want=groups["want"])


def _axes(groups: Groups) -> str:
    return t(
        "the input has {got} axes where {want} are expected: {shape}",
        got=groups["got"],
        want=groups["want"],
        shape=groups["shape"],
    )


def _rows(groups: Groups) -> str:
    return t("{x} rows of inputs meet {y} rows of targets", x=groups["x"], y=groups["y"])


def _shapes(groups: Groups) -> str:
    return t("shapes {a} and {b} do not fit together", a=groups["a"], b=groups["b"])


# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    # Keras
    KnownError(
        SHAPE,
        "ValueError",
        r"layer ['\"](?P<layer>[^'\"]*)['\"] is incompatible with the layer: expected axis -1 of input shape to have "
        r"value (?P<want>\d+), but received input with shape \(\w+, (?P<shape>(?:\w+, )*(?P<got>\d+))\)",
        _layer_features,
        tries=("keras.Input([%(shape)s])  # or give %(layer)s %(want)s features",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"layer ['\"](?P<layer>[^'\"]*)['\"] is incompatible with the layer: expected shape=\(None, "
        r"(?P<wanted>(?:\w+, )*(?P<want>\d+))\), found shape=\(\w+, (?P<shape>(?:\w+, )*(?P<got>\d+))\)",
        _layer_features,
        tries=("keras.Input([%(shape)s])  # or give %(layer)s %(want)s features",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"incompatible with the layer: expected (?:min_)?ndim=(?P<want>3), found ndim=(?P<got>2)\. Full shape "
        r"received: (?P<shape>\(.*\))",
        _axes,
        tries=("x = x[..., None]  # one feature per step",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"incompatible with the layer: expected (?:min_)?ndim=(?P<want>4), found ndim=(?P<got>3)\. Full shape "
        r"received: (?P<shape>\(.*\))",
        _axes,
        tries=("x = x[..., None]  # one channel",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"incompatible with the layer: expected (?:min_|max_)?ndim=(?P<want>\d), found ndim=(?P<got>\d)\. Full "
        r"shape received: (?P<shape>\(.*\))",
        _axes,
    ),
    # Rows
    KnownError(
        SHAPE,
        "ValueError",
        r"(?s)^Data cardinality is ambiguous.*?\bx'? sizes: (?P<x>\d+)\s+'?y'? sizes: (?P<y>\d+)",
        _rows,
    ),
    KnownError(SHAPE, "ValueError", r"inconsistent numbers of samples: \[(?P<x>\d+), (?P<y>\d+)\]", _rows),
    KnownError(
        SHAPE,
        "ValueError",
        r"^Expected input batch_size \((?P<x>\d+)\) to match target batch_size \((?P<y>\d+)\)",
        _rows,
    ),
    # PyTorch
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^mat1 and mat2 shapes cannot be multiplied \(\d+x(?P<got>\d+) and (?P<want>\d+)x(?P<out>\d+)\)",
        _features,
        raised_in="linear.py:forward",
        tries=("nn.Linear(%(got)s, %(out)s)  # in place of nn.Linear(%(want)s, %(out)s)",),
    ),
    KnownError(
        SHAPE, "RuntimeError", r"^mat1 and mat2 shapes cannot be multiplied \((?P<a>\w+) and (?P<b>\w+)\)", _shapes
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^Given groups=1, .*expected input\[\d+, (?P<got>\d+), \d+, (?P<want>\d+)\] to have (?P=want) channels",
        lambda g: t("the channels come last; PyTorch wants them after the batch"),
        tries=("x.permute(0, 3, 1, 2)",),
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^Given groups=1, .*to have (?P<want>\d+) channels, but got (?P<got>\d+) channels instead",
        _channels,
        tries=("nn.Conv2d(%(got)s, ...)  # in place of nn.Conv2d(%(want)s, ...)",),
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^running_mean should contain (?P<got>\d+) elements not (?P<want>\d+)",
        _channels,
        tries=("nn.BatchNorm2d(%(got)s)  # or nn.BatchNorm1d",),
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^input\.size\(-1\) must be equal to input_size\. Expected (?P<want>\d+), got (?P<got>\d+)",
        _features,
        tries=("nn.LSTM(%(got)s, ...)  # or nn.GRU",),
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^Given normalized_shape=\[(?P<want>\d+)\], .*got input of size\[(?:.*\D)?(?P<got>\d+)\]",
        _features,
        tries=("nn.LayerNorm(%(got)s)",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"^Expected more than 1 value per channel when training",
        lambda g: t("batch normalisation was given a batch of one row, which has no spread"),
        tries=("DataLoader(..., drop_last=True)",),
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^The size of tensor a \((?P<a>\d+)\) must match the size of tensor b \((?P<b>\d+)\)",
        lambda g: t("axes of {a} and {b} entries meet", a=g["a"], b=g["b"]),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"[Tt]arget size \(torch\.Size\(\[(?P<n>\d+)\]\)\).*input size \(torch\.Size\(\[(?P=n), 1\]\)\)",
        lambda g: t("the outputs have an axis of one entry that the targets have not"),
        tries=("output.squeeze(1)",),
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^view size is not compatible with input tensor's size and stride",
        lambda g: t("the entries lie in another order in memory"),
        turn=r"\.view\(",
        into=".reshape(",
        tries=("x.reshape(...)",),
    ),
    # JAX, TensorFlow and NumPy
    KnownError(
        SHAPE,
        "ScopeParamShapeError",
        r"expected to generate shape \((?P<got>\d+), (?P<out>\d+)\), but the existing parameter it received has "
        r"shape \((?P<want>\d+), (?P=out)\)",
        _features,
        tries=("model.init(key, x[:1])",),
    ),
    KnownError(
        SHAPE,
        "TypeError",
        r"^dot_general requires contracting dimensions to have the same shape, got (?P<a>\(.*?\)) and (?P<b>\(.*?\))\.",
        _shapes,
    ),
    KnownError(
        SHAPE, "TypeError", r"got incompatible shapes for broadcasting: (?P<a>\(.*?\)), (?P<b>\(.*?\))\.$", _shapes
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"^Incompatible shapes for broadcasting: shapes=\[(?P<a>\(.*?\)), (?P<b>\(.*?\))\]$",
        _shapes,
    ),
    KnownError(
        SHAPE,
        "InvalidArgumentError",
        r"^Matrix size-incompatible: In\[0\]: (?P<a>\[.*?\]), In\[1\]: (?P<b>\[.*?\])",
        _shapes,
    ),
    KnownError(SHAPE, "InvalidArgumentError", r"^Incompatible shapes: (?P<a>\[.*?\]) vs\. (?P<b>\[.*?\])", _shapes),
)
