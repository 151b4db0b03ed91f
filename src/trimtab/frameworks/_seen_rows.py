"""Which rows were trained on, so far as is known, and how many of those of validation are among them.

A row is known by its bytes: two rows that differ in the last bit are two. No framework.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._outbox import Session

ROWS = 256  # of one batch are looked at
BYTES = 4 << 20  # and so many bytes
MOST = 1 << 18  # rows are remembered
NEWEST = 4  # batches tell how many of the training's own rows come again
DISCRETE = 0.1  # of a batch are repeated in it: rows that say little of where they come from

Rows = Sequence[int]


class SeenRows:
    """Remembers rows of training batches and of each validation, and tells what they have in common.

    An event `validation_rows` has the metric's `name`; `compared` rows of it, different ones, of which `trained_on` are
    among the `trained` known ones; and `again`: the share of the rows of late training batches that are too, NaN where
    there are not enough. `again` is what rows of the training data have by chance, since not every batch is looked at.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._trained: set[int] = set()
        self._again: deque[float] = deque(maxlen=NEWEST)
        self._validated: dict[Hashable, set[int]] = {}
        self._told: dict[str, tuple[int, int]] = {}
        self.is_over = False

    def trained(self, rows: Rows) -> None:
        """These are of a batch that is trained on."""
        different = set(rows)
        if len(rows) - len(different) > DISCRETE * len(rows) or len(self._trained) > MOST:
            self.is_over = True
        elif different:
            self._again.append(len(different & self._trained) / len(different))
            self._trained |= different

    def validated(self, which: Hashable, rows: Rows) -> None:
        """These are of a batch of the validation that is known as `which`."""
        known = self._validated.setdefault(which, set())
        if len(known) < ROWS:
            known.update(rows)

    def tell(self, which: Hashable, name: str) -> None:
        """A validation is over, whose loss is recorded as `name`."""
        rows = self._validated.get(which)
        if not rows or self.is_over:
            return
        found = len(rows & self._trained), len(rows)
        if found[0] > self._told.get(name, (0, 0))[0]:
            self._told[name] = found
            self._session.event("validation_rows", name=name, trained_on=found[0], compared=found[1], **self._known())

    def _known(self) -> dict[str, Any]:
        again = sum(self._again) / NEWEST if len(self._again) == NEWEST else float("nan")
        return {"trained": len(self._trained), "again": again}


def fingerprints(rows: npt.NDArray[np.uint8]) -> Rows:
    """One number for each row of bytes, equal where all bytes are."""
    return [hash(row.tobytes()) for row in rows]


def few(rows: int, row_bytes: int) -> int:
    """How many of so many rows are looked at."""
    return min(rows, ROWS, BYTES // max(1, row_bytes))
