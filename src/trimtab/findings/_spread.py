"""How far the outputs of different inputs differ, as a share of what the loss can tell apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ._history import Floats, Track

SMALL = 0.01  # of the scale on which the loss sees a difference
LAST = 3  # sampled steps, at least
FEW_ROWS = 4
LOGITS = ("cross_entropy", "nll", "bce_logits", "kl_div")  # a difference of 1 is a factor of e, whatever their size
VALUES = ("mse", "l1", "smooth_l1", "huber")
_ENDS = ("output_min", "output_max", "target_min", "target_max")


@dataclass(frozen=True)
class Spread:
    """By sampled step, how far the outputs of different inputs differ, as a share of what the loss can tell apart."""

    steps: Floats
    shares: Floats
    spread: Floats
    scale: Floats


def answers_alike(track: Track) -> bool:
    """The model ended with one answer for every input, so that it cannot be better than a constant.

    Outputs that spread by a share s of the targets' standard deviation explain at most 1 - (1 - s)^2 of their variance
    (Cauchy and Schwarz), 2 % at SMALL, whatever the loss began at and however well chance is known. A logit that
    differs by s changes a log probability by at most 2 s.
    """
    found = spread_of(track)
    return len(found.steps) > LAST and at_the_end(found, LAST) <= SMALL


def one_number(track: Track) -> bool:
    """Every output at every sampled step was the same number, to the last bit, though the targets differed there."""
    losses = track.series.losses
    rows = len(losses.get("step", ()))
    low, high, least, most = (_floats(losses.get(name), rows) for name in _ENDS)
    return rows > LAST and bool(np.all((low == high) & (low == low[0]) & (least < most)))


def at_the_end(found: Spread, last: int) -> float:
    """The largest share in the last fifth of the sampled steps, `last` of them at least."""
    return float(found.shares[-max(last, len(found.shares) // 5) :].max())


def spread_of(track: Track) -> Spread:
    """The sampled steps at which several rows with targets that differ were seen."""
    losses = track.series.losses
    steps = np.asarray(losses.get("step", ()), dtype=np.float64)
    spread, std, targets, rows, labels = (
        _floats(losses.get(name), len(steps))
        for name in ("output_spread", "output_std", "target_std", "rows", "labels_seen")
    )
    kinds = [str(kind) for kind in losses.get("kind", ())]
    scale = np.array([_scale(k, s, t_) for k, s, t_ in zip(kinds, std, targets, strict=True)])
    known = np.isfinite(spread) & (scale > 0) & (rows >= FEW_ROWS) & (labels != 1)
    return Spread(steps[known], spread[known] / scale[known], spread[known], scale[known])


def _floats(column: object, rows: int) -> Floats:
    return np.full(rows, np.nan) if column is None else np.asarray(column, dtype=np.float64)


def _scale(kind: str, output_std: float, target_std: float) -> float:
    """What the loss can tell apart: 1 in a logit, half in a probability, the targets' own spread in a value.

    NaN where that is not known, 0 where the targets do not differ.
    """
    if kind in LOGITS:
        return 1.0
    if kind == "bce":
        return 0.5
    return target_std if kind in VALUES else math.nan
