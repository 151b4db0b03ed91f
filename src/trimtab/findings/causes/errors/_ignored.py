"""Settings of older versions that are taken and have no effect: nothing is raised, and the training is another one.

A row's type is IGNORED, its message the name of the setting.
"""

from __future__ import annotations

from ...._language import t
from ._known_error import KnownError
from ._spellings import OLD

IGNORED = "ignored"

ROWS: tuple[KnownError, ...] = (
    KnownError(
        OLD,
        IGNORED,
        r"^decay$",
        lambda g: t("`decay` is no longer taken: the learning rate stays as it is; a schedule does its work"),
        turn=r"(?P<by>\blearning_rate\s*=\s*|\()(?P<rate>[^,()=]+),\s*decay\s*=\s*(?P<decay>[^,()]+)",
        into=r"\g<by>keras.optimizers.schedules.InverseTimeDecay(\g<rate>, 1, \g<decay>)",
        tries=("SGD(learning_rate=keras.optimizers.schedules.InverseTimeDecay(0.01, decay_steps=1, decay_rate=1e-6))",),
    ),
    KnownError(
        OLD,
        IGNORED,
        r"^lr$",
        lambda g: t("`lr` is only a name here: the learning rate of a Keras optimizer is its `learning_rate`"),
        turn=r"(?<=\w)\.lr(?=\s*=[^=])",
        into=".learning_rate",
        tries=("optimizer.learning_rate = 1e-4",),
    ),
)
