"""Targets that a loss cannot take, and indices beyond their table."""

from __future__ import annotations

from ...._language import t
from ._fits import INDEX, LABELS, SHAPE, TYPE
from ._known_error import Groups, KnownError

# Keras says which function refused only by its own name.
_CATEGORICAL = "nn.py:categorical_crossentropy"
_BINARY = "nn.py:binary_crossentropy"
_SHAPE = r"(?:torch\.Size\()?[(\[]%s[)\]]\)?"
_RECEIVED = rf"[Rr]eceived: target\.shape={_SHAPE}, output\.shape={_SHAPE}"
_NUMBERS = _RECEIVED % (r"\w+(?:,|, 1)?", r"\w+, (?P<n>\d*[02-9]|\d+1)")
_WIDTHS = _RECEIVED % (r"\w+, (?P<y>\d+)", r"\w+, (?P<n>\d+)")


def _class_numbers(groups: Groups) -> str:
    return t(
        "the targets are one number per row; this loss wants {n} values per row, as the model gives", n=groups["n"]
    )


def _one_hot(groups: Groups) -> str:
    return t("the targets are {n} values per row; this loss wants one class number per row", n=groups["n"])


def _label_beyond(groups: Groups) -> str:
    n = groups["n"]
    if n == "1":
        return t(
            "the model has a single output, which knows class 0 only; there is a label {label}", label=groups["label"]
        )
    return t("label {label} lies outside of the {n} classes, 0 to {last}", label=groups["label"], n=n, last=int(n) - 1)


def _index_beyond(groups: Groups) -> str:
    return t("index {index} lies outside of a table of {n} rows", index=groups["index"], n=groups["n"])


# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    KnownError(
        SHAPE,
        "ValueError",
        _NUMBERS,
        _class_numbers,
        raised_in=_CATEGORICAL,
        tries=('loss="sparse_categorical_crossentropy"',),
        also=("y = keras.utils.to_categorical(y, %(n)s)",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        _NUMBERS,
        _class_numbers,
        raised_in=_BINARY,
        tries=('keras.layers.Dense(1, activation="sigmoid")',),
        also=('loss="sparse_categorical_crossentropy"  # with softmax at the output',),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"must have the same rank.*" + _NUMBERS,
        _class_numbers,
        raised_in=r"traceback_utils\.py:",  # by which Keras hides where it was raised
        tries=('loss="sparse_categorical_crossentropy"',),
        also=("y = keras.utils.to_categorical(y, %(n)s)",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        _WIDTHS.replace("[Rr]eceived: ", "same shape up until the last dimension: "),
        _one_hot,
        tries=('loss="categorical_crossentropy"',),
        also=("y = y.argmax(axis=-1)",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"`output` must have rank \(ndim\) `target\.ndim - 1`.*" + _WIDTHS,
        _one_hot,
        tries=('loss="categorical_crossentropy"',),
        also=("y = y.argmax(axis=-1)",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"must have the same shape\. " + _WIDTHS,
        lambda g: t("the targets have {y} columns and the model gives {n}", y=g["y"], n=g["n"]),
        tries=("keras.layers.Dense(%(y)s)  # as the last layer",),
    ),
    KnownError(
        SHAPE,
        "ValueError",
        r"^Shapes \(None, 1\) and \(None, (?P<n>\d+)\) are incompatible",
        _class_numbers,
        tries=('loss="sparse_categorical_crossentropy"',),
        also=("y = tf.keras.utils.to_categorical(y, %(n)s)",),
    ),
    KnownError(
        SHAPE,
        "RuntimeError",
        r"^0D or 1D target tensor expected, multi-target not supported",
        lambda g: t("the class numbers have an axis too many"),
        tries=("target.squeeze(1)",),
    ),
    KnownError(
        TYPE,
        "RuntimeError",
        r"^Expected floating point type for target with class probabilities, got (?P<got>\w+)",
        lambda g: t("targets of the outputs' shape are shares of classes, which {got} cannot hold", got=g["got"]),
        tries=("target.argmax(1)",),
        also=("target.float()",),
    ),
    KnownError(
        LABELS,
        "InvalidArgumentError",
        r"^Received a label value of (?P<label>-?\d+) which is outside the valid range of \[0, (?P<n>1)\)",
        _label_beyond,
        tries=(
            'keras.layers.Dense(1, activation="sigmoid")  # with loss="binary_crossentropy"',
            "keras.layers.Dense(int(y.max()) + 1)",
        ),
    ),
    KnownError(
        LABELS,
        "InvalidArgumentError",
        r"^Received a label value of (?P<label>\d+) which is outside the valid range of \[0, (?P<n>\d+)\)",
        _label_beyond,
        tries=("keras.layers.Dense(int(y.max()) + 1)", "y = y - y.min()  # labels counted from 1"),
    ),
    KnownError(
        LABELS,
        "InvalidArgumentError",
        r"^Received a label value of (?P<label>-\d+) which is outside the valid range of \[0, (?P<n>\d+)\)",
        _label_beyond,
        tries=("y = y - y.min()",),
    ),
    KnownError(
        LABELS,
        "IndexError",
        r"^Target (?P<label>-?\d+) is out of bounds",
        lambda g: t("label {label} lies outside of the classes that the model knows", label=g["label"]),
    ),
    KnownError(
        LABELS,
        "RuntimeError",
        r"^Class values must be (?:smaller than num_classes|non-negative)",
        lambda g: t("a label lies outside of the classes that the model knows"),
    ),
    # Indices
    KnownError(
        INDEX,
        "InvalidArgumentError",
        r"^indices\[.*\] = (?P<index>-?\d+) is not in \[0, (?P<n>\d+)\)",
        _index_beyond,
        tries=("keras.layers.Embedding(int(x.max()) + 1, ...)",),
    ),
    KnownError(
        INDEX,
        "IndexError",
        r"^index out of range in self",
        lambda g: t("an embedding was asked for a row that it does not have"),
        tries=("Embedding(int(x.max()) + 1, ...)",),
    ),
)
