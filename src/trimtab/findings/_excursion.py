"""A loss that went far beyond where it began and came back: for how long, how far, and whether it got over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._evidence import LARGE_UPDATE, update_ratios
from ._history import Array, Floats, Track
from ._levels import block_medians, noise

BLOCKS = 30
MUCH = 0.1  # share of the run that the loss spent out there
FAR = 2.0  # times the larger of start and chance
OUTSIDE = 1.3  # the same, where a step was seen to be long; runs that trained stayed under 1.1 (docs/science.md, 4)
CLEAR_OF_NOISE = 6.0  # standard deviations of the log loss, where chance is not known
LIVE_STEPS = 20
LIVE_RISE = 1e3
FEW = 20  # losses: fewer have no middle


@dataclass(frozen=True)
class Excursion:
    """Rows `first` to `last` of the finite losses, of which `steps` lay beyond `threshold`; `peak` is the largest."""

    first: int
    last: int
    steps: int
    threshold: float
    peak: float


def excursion(track: Track, values: Floats, reference: float) -> Excursion | None:
    """The time that a loss above 0 spent far beyond `reference`, where that was a substantial part of the run."""
    if len(values) < FEW or not reference > 0:
        return None
    for limit, certain in ((FAR, True), (OUTSIDE, False)):
        found = _beyond(values, limit * reference)
        if found is None or found.peak <= FAR * reference:
            continue
        if not np.isfinite(track.chance) and not _clear(values, found, reference):
            continue
        if certain or max(_ratios_before(track, found.last), default=0.0) > LARGE_UPDATE:
            return found
    return None


def alarmed(track: Track, values: Floats, reference: float) -> Excursion | None:
    """The time from the first loss that rang the alarm of a running training to the last; None where it never did."""
    if not reference > 0:
        return None
    rings = np.flatnonzero(
        _rings(values, FAR * reference, LIVE_RISE * reference, chance_known=bool(np.isfinite(track.chance)))
    )
    if not len(rings):
        return None
    above = np.flatnonzero(values > FAR * reference)
    quiet = np.flatnonzero(values[: rings[0]] <= FAR * reference)
    first = int(above[above > quiet[-1]][0]) if len(quiet) else int(above[0])
    last = int(above[-1])
    count = int(np.sum(values[first : last + 1] > FAR * reference))
    return Excursion(first, last, count, FAR * reference, float(values[first:].max()))


def stays_beyond(last: Floats, threshold: float) -> bool:
    """Twenty losses in a row beyond the threshold, and not on their way back."""
    half = len(last) // 2
    return (
        len(last) == LIVE_STEPS
        and float(last.min()) > threshold
        and float(np.median(last[half:])) >= 0.9 * float(np.median(last[:half]))
    )


def _rings(values: Floats, threshold: float, far: float, *, chance_known: bool) -> Array:
    """Shape (len(values),): the alarm of a running training rings at this loss, as `stays_beyond` and LIVE_RISE say.

    Departure: where chance is not known the noise is that of the whole run, not of the run up to then.
    """
    rings = np.zeros(len(values), dtype=bool)
    if len(values) >= 3:
        threes = np.lib.stride_tricks.sliding_window_view(values, 3)
        rings[2:] = (threes.min(axis=1) > far) & (threes[:, 2] >= threes[:, 0])
    if len(values) > LIVE_STEPS:
        windows = np.lib.stride_tricks.sliding_window_view(values, LIVE_STEPS)[1:]
        rows = np.flatnonzero(windows.min(axis=1) > threshold)
        earlier, later = (np.median(half, axis=1) for half in np.split(windows[rows], 2, axis=1))
        clear = 0.0 if chance_known else CLEAR_OF_NOISE * noise(np.log(values[values > 0]))
        stays = (later >= 0.9 * earlier) & (np.log(later / (threshold / FAR)) > clear)
        rings[rows[stays] + LIVE_STEPS] = True
    return rings


def clear_of_noise(values: Floats, level: Floats, reference: float) -> bool:
    positive = values[values > 0]
    return float(np.log(np.median(level) / reference)) > CLEAR_OF_NOISE * noise(np.log(positive))


def _beyond(values: Floats, threshold: float) -> Excursion | None:
    blocks = min(BLOCKS, len(values) // 3)
    above = np.flatnonzero(block_medians(values, blocks) > threshold)
    if len(above) < max(MUCH * blocks, 2):
        return None
    rows = np.array_split(np.arange(len(values)), blocks)
    first, last = int(rows[above[0]][0]), int(rows[above[-1]][-1])
    outside = np.flatnonzero(values[first : last + 1] > threshold) + first
    return Excursion(int(outside[0]), int(outside[-1]), len(outside), threshold, float(values[first : last + 1].max()))


def _clear(values: Floats, found: Excursion, reference: float) -> bool:
    outside = values[found.first : found.last + 1]
    return clear_of_noise(values, outside[outside > found.threshold], reference)


def _ratios_before(track: Track, row: int) -> list[float]:
    """|update| / |weight| at the steps sampled up to the end of the excursion."""
    return update_ratios(track, until=int(track.step[track.finite_rows[row]]))
