"""What old spellings have in common."""

from __future__ import annotations

from ...._language import t
from ._known_error import Groups

OLD = "old-spelling"
OTHER = "other-framework"

#: Arguments that Keras has renamed.
ARGUMENTS = {
    "lr": "learning_rate",
    "nb_epoch": "epochs",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "border_mode": "padding",
    "subsample": "strides",
    "nb_filter": "filters",
    "output_dim": "units",
    "dim_ordering": "data_format",
    "input": "inputs",
    "output": "outputs",
}


def renamed(groups: Groups) -> str:
    return t("`{old}` is now `{new}`", old=groups["old"], new=groups["new"])


def gone(groups: Groups) -> str:
    return t("`{old}` is gone", old=groups["old"])
