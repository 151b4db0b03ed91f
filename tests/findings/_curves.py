"""Healthy loss curves as trainings make them: every shape and every noise that must not ring an alarm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Curve = Callable[[Rng, int], np.ndarray]


def decay(rng: Rng, n: int) -> np.ndarray:
    """A power law or an exponential, from 2.3 down by a factor of 2 to 100."""
    end = 2.3 / float(np.exp(rng.uniform(np.log(2), np.log(100))))
    t = np.arange(n) / n
    if rng.random() < 0.5:
        return end + (2.3 - end) * np.exp(-float(rng.uniform(2, 20)) * t)
    return end + (2.3 - end) / (1 + float(rng.uniform(5, 300)) * t)


def gaussian(rng: Rng, n: int) -> np.ndarray:
    curve = decay(rng, n)
    return np.abs(curve + float(rng.uniform(0.01, 0.5)) * np.sqrt(curve / 2.3) * rng.standard_normal(n))


def lognormal(rng: Rng, n: int) -> np.ndarray:
    return decay(rng, n) * np.exp(float(rng.uniform(0.02, 1.0)) * rng.standard_normal(n))


def heavy_tailed(rng: Rng, n: int) -> np.ndarray:
    return decay(rng, n) * np.exp(float(rng.uniform(0.05, 0.4)) * rng.standard_t(2.5, n))


def tiny_batch(rng: Rng, n: int) -> np.ndarray:
    """The loss of one or two rows: an exponential spread."""
    rows = int(rng.integers(1, 4))
    return decay(rng, n) * rng.gamma(0.5 * rows, 2 / rows, n) + 1e-6


def correlated(rng: Rng, n: int) -> np.ndarray:
    """Noise that stays for some steps, as of data that is not quite shuffled, or a loss that is averaged."""
    keep = float(rng.uniform(0.3, 0.95))
    noise = rng.standard_normal(n)
    for i in range(1, n):
        noise[i] = keep * noise[i - 1] + np.sqrt(1 - keep**2) * noise[i]
    return decay(rng, n) * np.exp(float(rng.uniform(0.02, 0.3)) * noise)


def epochs(rng: Rng, n: int) -> np.ndarray:
    """The same batches in the same order, some harder than others."""
    period = int(rng.integers(2, 40))
    hard = np.exp(float(rng.uniform(0.05, 0.7)) * rng.standard_normal(period))
    return decay(rng, n) * np.resize(hard, n) * np.exp(0.02 * rng.standard_normal(n))


def steps_down(rng: Rng, n: int) -> np.ndarray:
    """A learning rate that is cut twice."""
    level = np.select([np.arange(n) < n / 3, np.arange(n) < 2 * n / 3], [1.0, 0.4], 0.25)
    return (0.1 + 2.2 * np.exp(-20 * np.arange(n) / n)) * level * np.exp(0.1 * rng.standard_normal(n))


def overshoots(rng: Rng, n: int) -> np.ndarray:
    """The first steps go up, as with a high learning rate that pays off."""
    t = np.arange(n)
    return decay(rng, n) * (1 + float(rng.uniform(0, 0.9)) * np.exp(-((t - 6) ** 2) / 20)) * np.exp(
        0.1 * rng.standard_normal(n)
    )  # fmt: skip


def one_hard_batch(rng: Rng, n: int) -> np.ndarray:
    curve = lognormal(rng, n)
    curve[rng.integers(0, n, 3)] *= float(rng.uniform(3, 50))
    return curve


def last_batch_of_an_epoch(rng: Rng, n: int) -> np.ndarray:
    """A short last batch, noisier than the others."""
    period = int(rng.integers(5, 60))
    wide = np.where(np.arange(n) % period == period - 1, 3.0, 1.0)
    return decay(rng, n) * np.exp(0.15 * wide * rng.standard_normal(n))


CURVES: tuple[Curve, ...] = (
    gaussian, lognormal, heavy_tailed, tiny_batch, correlated, epochs, steps_down, overshoots, one_hard_batch,
    last_batch_of_an_epoch,
)  # fmt: skip
