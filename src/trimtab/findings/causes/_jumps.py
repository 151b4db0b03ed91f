"""A gradient that left its past within one step, shortly before a trouble."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .._history import Track
from ._cause import Case
from ._readings import logs, past_median, robust_z, row_of

LOOK_BACK = 20  # steps before the trouble
Z = 6.0  # robust z of log10 |g|: healthy at most 3.9 in 1,500 steps (docs/science.md, 3)
FACTOR = 3.0  # over the median before: a gradient that hardly varies has a tiny spread
LOSS_FACTOR = 1.5


@dataclass(frozen=True)
class Jump:
    """At `row` the raw gradient norm was `factor` times the median of the steps before."""

    row: int
    factor: float


def jump_before(case: Case) -> Jump | None:
    """The first jump of the gradient from twenty steps before the trouble to one after its first."""
    norms = np.asarray(case.track.columns["grad_norm_raw"], dtype=np.float64)
    scale, begin = logs(norms), row_of(case)
    for row in range(max(0, begin - LOOK_BACK), min(begin + 2, len(norms))):
        usual, now = past_median(norms, row), float(norms[row])
        if usual > 0 and math.isfinite(now) and now > FACTOR * usual and robust_z(scale, row) > Z:
            return Jump(row, now / usual)
    return None


def loss_jumps(track: Track, row: int) -> bool:
    """The loss of that very step, measured before its update, lies far above those before."""
    loss = np.asarray(track.columns["loss"], dtype=np.float64)
    middle = past_median(loss, row)
    return robust_z(loss, row) > Z and float(loss[row]) - middle > (LOSS_FACTOR - 1) * abs(middle)
