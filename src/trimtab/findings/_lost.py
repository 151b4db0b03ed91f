"""When a training was lost: its first non-finite value that it did not get over, or the loss's last departure."""

from __future__ import annotations

from ._diverging_loss import Onset, onset
from ._history import History, Track
from ._non_finite import first_lost

DELAY = 5  # rows: a loss is measured before the step, the gradient that lost it may come a little later


def lost(history: History, track: Track) -> int | None:
    """The row at which the track was lost, or left for so long that it came to nothing; None where it was not."""
    departure = onset(history, track)
    return _first(track, None if departure and departure.trained else departure)


def left(history: History, track: Track) -> tuple[int, str] | None:
    """The row at which the track was lost or left for a time, and how bad that is; None where it did not."""
    departure = onset(history, track)
    row = _first(track, departure)
    if row is None:
        return None
    return row, "fatal" if departure is None or first_lost(track) is not None else departure.severity


def _first(track: Track, departure: Onset | None) -> int | None:
    rows = [first_lost(track)]
    if departure is not None:
        rows.append(min(departure.row + DELAY, len(track) - 1))
    return min((row for row in rows if row is not None), default=None)
