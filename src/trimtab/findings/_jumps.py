"""Where a loss leaves its own past at once, and where it is back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._history import Array, Floats
from ._levels import MAD_TO_STD

WINDOW = 50
LEVEL = 10
FEW = 20  # earlier losses: fewer have no spread to measure against
Z = 6.0  # of log loss and log gradient norm; healthy at most 3.9 in 1,500 steps (docs/science.md, 3)
ABRUPT = 4.0  # spreads of the moves within four steps
CALM = 3.0  # the same, for being back
IN_A_ROW = 3  # one loss may be a hard batch: three in a row are the model's
LONE = np.log(10.0)  # unless that one is ten times the highest of the fifty before, and leaves a trace
TRACE = 1.5  # spreads: the median of the ten losses after it above that of the ten before


@dataclass(frozen=True)
class Jump:
    """Rows `first` to `last` of a curve lie above its recent past; `z` is how far, in spreads of that."""

    first: int
    last: int
    before: float
    peak: float
    z: float

    @property
    def steps(self) -> int:
        return self.last - self.first + 1


def jumps(logs: Floats) -> list[Jump]:
    """Every jump of a curve of logarithms that came back; `before` and `peak` are logarithms too.

    Three values in a row must lie above each of the twenty before, and by six spreads (MAD, about the line through
    the fifty before) above the last ten: for noise without memory, however heavy its tails, that is rarer than one in
    a million. A single value counts where it is ten times the highest around it and the losses after it are higher
    than before: else it is a hard batch that did no harm. What does not come back has no jump.
    """
    found: list[Jump] = []
    for row in _candidates(logs):
        if found and row <= found[-1].last:
            continue
        jump = _jump(logs, int(row)) or _lone(logs, int(row))
        if jump is not None:
            found.append(jump)
    return found


def robust_z(values: Floats, row: int) -> float:
    """How far the value at the row lies above the fifty before, in spreads (MAD) of those; 0 where they are few."""
    past = values[max(0, row - WINDOW) : row]
    past = past[np.isfinite(past)]
    if len(past) < FEW or not np.isfinite(values[row]):
        return 0.0
    return float((values[row] - np.median(past)) / _spread(past))


def _candidates(logs: Floats) -> Array:
    """Rows from which on three values lie above each of the twenty before, or one lies far above them."""
    if len(logs) < FEW + IN_A_ROW:
        return np.zeros(0, dtype=np.int64)
    highest = np.lib.stride_tricks.sliding_window_view(logs, FEW).max(axis=1)[:-IN_A_ROW]
    threes = np.lib.stride_tricks.sliding_window_view(logs[FEW:], IN_A_ROW)
    return np.asarray(np.flatnonzero((threes.min(axis=1) > highest) | (threes[:, 0] > highest + LONE)) + FEW)


def _lone(logs: Floats, row: int) -> Jump | None:
    past, rest = logs[max(0, row - WINDOW) : row], logs[row + 1 : row + 1 + WINDOW]
    before, spread, peak = float(np.median(past[-LEVEL:])), _spread(_without_trend(past)), float(logs[row])
    trace = float(np.median(rest[:LEVEL])) - before
    if peak <= max(float(past.max()), float(rest.max()), before + Z * spread) + LONE or trace <= TRACE * spread:
        return None
    return Jump(row, row, before, peak, (peak - before) / spread)


def _jump(logs: Floats, row: int) -> Jump | None:
    past = logs[max(0, row - WINDOW) : row]
    before, spread = float(np.median(past[-LEVEL:])), _spread(_without_trend(past))
    low = float(logs[row : row + IN_A_ROW].min())
    if low <= before + Z * spread or low - float(np.median(past[-IN_A_ROW:])) <= ABRUPT * _spread_of_moves(past):
        return None
    back = _back(logs, row, before + CALM * spread)
    if back is None:
        return None
    peak = float(logs[row:back].max())
    return Jump(row, back - 1, before, peak, (peak - before) / spread)


def _back(logs: Floats, row: int, calm: float) -> int | None:
    """The first row after which the median of three is calm again."""
    rest = logs[row + 1 :]
    if len(rest) < 3:
        return None
    medians = np.median(np.lib.stride_tricks.sliding_window_view(rest, 3), axis=1)
    calm_rows = np.flatnonzero(medians <= calm)
    return row + 1 + int(calm_rows[0]) if len(calm_rows) else None


def _spread_of_moves(past: Floats) -> float:
    """Of the moves within as many steps as a jump has: noise with a memory makes them larger than its own spread."""
    return _spread(past[IN_A_ROW + 1 :] - past[: -IN_A_ROW - 1])


def _without_trend(past: Floats) -> Floats:
    place = np.arange(len(past)) - (len(past) - 1) / 2
    return np.asarray(past - place * float(place @ past) / float(place @ place))


def _spread(past: Floats) -> float:
    """At least a thousandth, so that a curve without noise has a scale too."""
    return max(MAD_TO_STD * float(np.median(np.abs(past - np.median(past)))), 1e-3)
