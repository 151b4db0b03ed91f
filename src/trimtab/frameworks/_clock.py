"""Which windows between two steps are sampled in full, so that their cost stays bounded."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

# Sampled steps may take this share of the time, all their measurements together.
SAMPLING_SHARE = 0.03
LEAST_INTERVAL = 10
MOST_CONSECUTIVE = 4


@dataclass(slots=True)
class SamplingClock:
    """Says which windows are sampled: the first of every optimizer and the one after, then as often as
    their cost stays under SAMPLING_SHARE of the time.

    `on` is the window that is under way; `left` counts the windows that are not sampled down to the next that is.
    """

    on: bool = True
    left: int = 0
    _burst: int = 1
    _seen: set[int] = field(default_factory=set)
    _quiet: int = 0
    _quiet_since: float = 0.0
    _period: float = 0.0
    _last: float = 0.0
    _put_by: int | None = None

    def end_sampled(self, optimizer: int, now: float, spent: float) -> None:
        """A sampled window has ended with a step of `optimizer` at `now`; measuring took `spent` (both seconds).

        What sampling costs is more than `spent`: hooks slow the forward pass, and cold code the step. It is taken
        as what the window lasted beyond the usual, but within twice `spent`, since a validation may lie in it.
        """
        lasted, self._last = now - self._last, now
        cost = min(max(spent, lasted - self._period), 2 * spent)
        self._burst -= 1
        if optimizer not in self._seen:
            self._seen.add(optimizer)
            self._burst = max(self._burst, 1)
        self.on = self._burst > 0
        self.left = self._quiet = LEAST_INTERVAL
        if self._period:
            self.left = self._quiet = max(LEAST_INTERVAL, int(cost / (SAMPLING_SHARE * self._period)))
        self._quiet_since = now

    def spend_late(self, spent: float) -> None:
        """Measuring went on after the end of a sampled window, for `spent` seconds, before another began."""
        self._last += spent
        if not self.on and self._period:
            more = int(spent / (SAMPLING_SHARE * self._period))
            self.left += more
            self._quiet += more
        self._quiet_since += spent

    def end_quiet(self, now: float) -> None:
        """The last of the windows that are not sampled has ended: sample the next."""
        self._period = max(0.0, now - self._quiet_since) / self._quiet
        self._last = now
        self.restart(min(len(self._seen), MOST_CONSECUTIVE))

    def resume(self, now: float, sampling: bool) -> None:
        """Watching begins, perhaps again: what was before does not count as time between steps."""
        if not sampling:
            self.on, self._put_by, self.left = False, self.left, sys.maxsize
        elif self._put_by is not None:
            self.left, self._put_by = self._put_by, None
        self._quiet, self._quiet_since, self._last = max(1, self.left), now, now

    def restart(self, windows: int = 1) -> None:
        """Sample the next `windows` windows."""
        self.on, self._burst = True, windows
