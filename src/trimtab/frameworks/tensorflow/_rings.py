"""Vectors on their way from traced steps to the host: written into rings on the device, fetched in blocks.

No model, optimizer or checkpoint can see the rings' variables: only the traced graph refers to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import tensorflow as tf

from .._tracing import Receive
from ._internals import hidden_variable, is_xla

#: Floats that a ring may take, and the most and the least rows that it has.
RING_FLOATS = 1 << 16
MOST_ROWS = 1024
LEAST_ROWS = 128
UNWRITTEN = -1.0


class Row(NamedTuple):
    """A vector that has arrived; `number` counts the vectors of all rings in the order in which they were written."""

    number: int
    receive: Receive
    vector: np.ndarray[Any, Any]


class Ring:
    """The last vectors that were emitted for one receiver.

    The first entry of a row is how often the ring had been passed round when the row was written.
    """

    def __init__(self, receive: Receive, size: int) -> None:
        self.receive = receive
        self.rows = max(LEAST_ROWS, min(MOST_ROWS, RING_FLOATS // size))
        start = np.full((self.rows, 1 + size), UNWRITTEN, dtype=np.float32)
        self._rows = hidden_variable(start, tf.float32)

    def write(self, number: Any, vector: Any) -> Any:
        """Put a vector into its place, in a trace; the operation that does so."""
        place = number % self.rows
        row = tf.concat([tf.cast(number // self.rows, tf.float32)[None], vector], 0)
        if is_xla():  # where a scatter is a loop over a copy
            here = tf.range(self.rows, dtype=tf.int64)[:, None] == place
            return self._rows.assign(tf.where(here, row[None], self._rows), read_value=False)
        return self._rows.scatter_nd_update(place[None, None], row[None])

    def read(self, first: int, end: int) -> Iterable[Row]:
        """The rows numbered from `first` to before `end` that are still there."""
        table = self._rows.numpy()
        written = np.flatnonzero(table[:, 0] != UNWRITTEN)
        numbers = table[written, 0].astype(np.int64) * self.rows + written
        for place, number in zip(written, numbers, strict=True):
            if first <= number < end:
                yield Row(int(number), self.receive, table[place, 1:])


class Rings:
    """All rings of a process, and the variable that counts what was written into them."""

    def __init__(self, on_lost: Callable[[int], None]) -> None:
        self._rings: WeakValueDictionary[tuple[Receive, int], Ring] = WeakValueDictionary()
        self._count: Any = None
        self._fetched = 0
        self._used: set[Ring] = set()
        self._on_lost = on_lost
        self._lock = RLock()

    def ring(self, receive: Receive, size: int) -> Ring:
        """The one for these vectors. It lives as long as someone holds it."""
        ring = self._rings.get((receive, size))
        if ring is None:
            if self._count is None:
                self._count = hidden_variable(0, tf.int64)
            ring = self._rings[receive, size] = Ring(receive, size)
        return ring

    def write(self, ring: Ring, vector: Any) -> Any:
        """Write in a trace: how many vectors have been written then. They are counted when they are there: the host may
        look at any time."""
        written = ring.write(self._count.read_value(), vector)
        with tf.control_dependencies([written]):
            return self._count.assign_add(1)

    def count(self) -> Any:
        """In a trace: how many vectors have been written."""
        return self._count.read_value()

    def note_use(self, rings: Iterable[Ring]) -> None:
        """They may have been written since they were last fetched."""
        self._used.update(rings)

    def fetch(self, *, call_goes_on: bool = False) -> int:
        """Hand over what has been written since the last time; how many there were. Waits for it.

        `call_goes_on`: the call from the host that writes is not over.
        """
        if not self._used:
            return 0
        with self._lock:
            rings = set(self._used)
            if not call_goes_on:
                self._used.clear()
            first, self._fetched = self._fetched, int(self._count.numpy())
            arrived = [row for ring in rings for row in ring.read(first, self._fetched)]
            arrived.sort(key=lambda row: row.number)
            for row in arrived:
                row.receive(row.vector)
        count = self._fetched - first
        if len(arrived) < count:
            self._on_lost(count - len(arrived))
        return count
