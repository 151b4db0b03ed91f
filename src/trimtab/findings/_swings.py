"""Whether a curve swings: up and down in turn, or with a period, rather than at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._history import Floats

FEW = 40
LONGEST = 4096  # values looked at, the last ones
ALTERNATES = 0.6  # minus the correlation of neighbours
RETURNS = 0.5  # correlation after a whole period
CYCLES = 6  # of the longest period looked for
LONGER = 0.1  # by which the correlation after a longer period is the better one
KEEPS = 0.9  # of its correlation after one period the order of the data keeps after any number


@dataclass(frozen=True)
class Swings:
    """`period` in steps, `size` the standard deviation of the logarithm, trend removed, `regular` the correlation."""

    period: float
    size: float
    regular: float


def swings(values: Floats) -> Swings | None:
    """The swings of a curve above 0; None where neighbours are not, or not negatively, related."""
    values = values[-LONGEST:]
    if len(values) < FEW or values.min() <= 0:
        return None
    logs = _without_trend(np.log(values))
    size = float(np.std(logs))
    if size < 1e-9:
        return None
    related = _autocorrelation(logs)
    alternates = related[1] <= -ALTERNATES and related[2] >= RETURNS * -related[1]
    period = 2 if alternates else _period(related[: len(logs) // CYCLES + 2])
    if period is None or _is_order_of_data(related, period):
        return None
    return Swings(float(period), size, float(related[period]))


def _without_trend(logs: Floats) -> Floats:
    place = np.arange(len(logs)) - (len(logs) - 1) / 2
    return np.asarray(logs - logs.mean() - place * float(place @ logs) / float(place @ place))


def _autocorrelation(logs: Floats) -> Floats:
    """By lag, up to half of the length; 1 at lag 0."""
    n = len(logs)
    power = np.abs(np.fft.rfft(logs, 2 * n)) ** 2
    sums = np.fft.irfft(power)[: n // 2]
    return np.asarray(sums / np.arange(n, n - len(sums), -1) / (sums[0] / n))


def _period(related: Floats) -> int | None:
    """The first lag at which the curve is back, having been on the other side half a period before."""
    below = np.flatnonzero(related < -RETURNS / 2)
    if not len(below):
        return None
    back = np.flatnonzero(related[below[0] :] >= RETURNS) + below[0]
    if not len(back):
        return None
    together = back[: int(np.argmax(np.diff(back, append=back[-1] + 2) > 1)) + 1]
    return int(together[np.argmax(related[together])])


def _is_order_of_data(related: Floats, period: int) -> bool:
    """The same after every whole number of periods, of a number of steps each: batches that come in a fixed order.

    Swings of the weights lose their beat, or have a period that is no whole number of steps. The order of the data
    may repeat after longer than it swings.
    """
    longest = 2 + int(np.argmax(related[2:]))
    period = longest if related[longest] > related[period] + LONGER else period
    again = related[2 * period :: period]
    return period > 2 and len(again) > 0 and bool(again.min() > KEEPS * related[period])
