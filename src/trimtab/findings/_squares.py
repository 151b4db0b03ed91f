"""What a constant answer costs where the loss was a multiple of the squared error, as Huber's is for small errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

KINDS = ("huber", "smooth_l1")
SAME = 0.01  # relative, of the multiple from step to step: float32 and a correlation near 1 cost some digits
FEW = 3  # sampled steps
MOST = 0.5  # of them


def chance_of_squares(losses: Mapping[str, npt.NDArray[Any]]) -> float:
    """The variance of all targets seen, times the multiple of the squared error that the loss was at most sampled
    steps (it is less where an error is beyond Huber's delta); NaN where it was none.

    mean (o - t)^2 = var o + var t - 2 r std o std t + (mean o - mean t)^2, r the correlation.
    """
    kinds = {str(kind) for kind in losses.get("kind", ())}
    if len(kinds) != 1 or not kinds <= set(KINDS):
        return float("nan")
    names = ("value", "rows", "output_mean", "output_std", "target_mean", "target_std", "correlation")
    columns = [np.asarray(losses.get(name, ()), dtype=np.float64) for name in names]
    if len({len(column) for column in columns}) != 1:
        return float("nan")
    value, rows, output, output_std, target, target_std, related = columns
    error = output_std**2 + target_std**2 - 2 * related * output_std * target_std + (output - target) ** 2
    known = np.isfinite(value) & (error > 0) & (rows > 0)
    times = value[known] / error[known]
    most = float(times.max(initial=0.0))
    if len(times) < FEW or np.mean(times >= (1 - SAME) * most) < MOST:
        return float("nan")
    return most * _pooled(rows[known], target[known], target_std[known])


def _pooled(rows: Floats, means: Floats, stds: Floats) -> float:
    """The variance of what these batches hold together."""
    shares = rows / rows.sum()
    mean = float(shares @ means)
    return float(shares @ (stds**2 + means**2)) - mean**2
