"""Robust statistics of a loss curve. All are free of its unit: scaled losses give scaled results."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._history import Floats

MAD_TO_STD = 1.4826  # of a normal distribution


class Level(NamedTuple):
    """Where a stretch of a curve lies, and the standard error of that."""

    value: float
    error: float


def level(values: Floats) -> Level:
    """The median of the means of eight blocks.

    Means, since chance is the mean of a skewed per-batch loss (the median of a squared error lies
    at 0.45 of it); their median, since one spike must not move the level.
    """
    if len(values) < 16:
        return Level(float(np.median(values)), float(np.std(values) / np.sqrt(len(values))))
    means = np.array([block.mean() for block in np.array_split(values, 8)])
    error = 1.25 * MAD_TO_STD * np.median(np.abs(means - np.median(means))) / np.sqrt(len(means))
    return Level(float(np.median(means)), float(error))


def block_medians(values: Floats, blocks: int) -> Floats:
    return np.array([np.median(block) for block in np.array_split(values, min(blocks, len(values)))])


def trend(values: Floats, blocks: int = 16) -> float:
    """Mann-Kendall z of the block means: below -2.6 the curve falls (p < 0.005), above 2.6 it rises.

    Source: Mann 1945; Kendall 1975, Rank Correlation Methods, ch. 4.
    """
    means = np.array([block.mean() for block in np.array_split(values, min(blocks, len(values)))])
    n = len(means)
    if n < 5:
        return 0.0
    ahead = np.sign(means[None, :] - means[:, None])
    score = float(np.sum(np.triu(ahead, 1)))
    return score / float(np.sqrt(n * (n - 1) * (2 * n + 5) / 18))


def noise(values: Floats) -> float:
    """Standard deviation from one value to the next, trend and spikes left out."""
    if len(values) < 3:
        return 0.0
    steps = np.diff(values)
    return float(MAD_TO_STD * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))
