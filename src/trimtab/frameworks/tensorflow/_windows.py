"""Which steps are sampled: what the host says before a call is read by the traced steps within it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf

from .._clock import MOST_CONSECUTIVE, SamplingClock
from ._internals import hidden_variable


class Windows:
    """One window is one call of a training function from the host, or one step run eagerly.

    Within a call at most the first MOST_CONSECUTIVE steps of its every optimizer are sampled.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._clock = SamplingClock()
        self._clock.resume(now(), sampling=True)
        self._left: Any = None
        self._told = 0
        self._spent = 0.0
        self._usual: dict[Hashable, float] = {}
        self._numbers: dict[Hashable, int] = {}

    @property
    def sampled(self) -> bool:
        """The window that is under way, or the next."""
        return self._clock.on

    def restart(self, windows: int = 1) -> None:
        """A new training begins: sample its first windows."""
        self._clock.restart(windows)

    def spend(self, seconds: float) -> None:
        """So much time went into measuring the window."""
        self._spent += seconds

    def spend_late(self, seconds: float) -> None:
        """So much went into measuring after the end of a sampled window, before the next began."""
        self._clock.spend_late(seconds)

    def left(self) -> Any:
        """In a trace: how many steps are still to be sampled in this call."""
        return self._variable().read_value()

    def count_step(self) -> None:
        """In a trace: a step has been taken."""
        self._variable().assign_sub(1, read_value=False)

    def tell(self, left: Any) -> None:
        """In a trace: so many of the steps to come are to be sampled."""
        self._variable().assign(left, read_value=False)

    def begin_call(self, steps: int) -> None:
        """A training function, traced with `steps` steps, is to be called."""
        wanted = MOST_CONSECUTIVE * steps if self._clock.on else 0
        if wanted or self._told:
            self.tell(wanted)
            self._told = wanted

    def next_in_call(self) -> int:
        """A long call goes on: how many of its next steps are to be sampled."""
        self.end("in call")
        self._told = MOST_CONSECUTIVE if self._clock.on else 0
        return self._told

    def end_call(self, key: Hashable, seconds: float) -> None:
        """It took so long. What it took beyond the usual is what sampling cost."""
        if self._clock.on:
            self.spend(max(0.0, seconds - self._usual.get(key, seconds)))
        else:
            self._usual[key] = min(seconds, 1.1 * self._usual.get(key, seconds))
        self.end(key)

    def end(self, key: Hashable) -> None:
        """A window of the training `key` has ended."""
        clock = self._clock
        spent, self._spent = self._spent, 0.0
        if clock.on:
            number = self._numbers.setdefault(key, len(self._numbers))
            clock.end_sampled(number, self._now(), spent)
            return
        clock.left -= 1
        if clock.left <= 0:
            clock.end_quiet(self._now())

    def _variable(self) -> Any:
        if self._left is None:
            self._left = hidden_variable(0, tf.int64)
        return self._left
