"""Validation losses: the mean of each pass over its rows."""

from __future__ import annotations

from typing import Any

from .._outbox import Session
from .._seen_rows import SeenRows
from ._row_readers import RowReader

Site = tuple[Any, ...]


class ValidationPasses:
    """Adds up the losses of validation batches and logs one number per pass.

    Passes asked for by different lines of the script are named apart, in order of appearance:
    val_loss, val_loss_2, ...
    """

    def __init__(self, session: Session, seen: SeenRows, rows: RowReader) -> None:
        self._session = session
        self._seen = seen
        self._rows = rows
        self.is_under_way = False
        self._sums: dict[Site, tuple[float, int]] = {}
        self._names: dict[Site, str] = {}

    def add(self, site: Site, mean: float, rows: int) -> None:
        self.is_under_way = True
        total, count = self._sums.get(site, (0.0, 0))
        self._sums[site] = (total + mean * rows, count + rows)
        if read := self._rows.take(rows):
            self._seen.validated(site, read)

    def end(self) -> None:
        """The passes are over: training goes on, or the process ends."""
        if not self._sums:
            return
        sums, self._sums, self.is_under_way = self._sums, {}, False
        for site, (total, count) in sums.items():
            known = len(self._names)
            name = self._names.setdefault(site, "val_loss" if not known else f"val_loss_{known + 1}")
            if not self._session.reports_itself:
                self._session.log(name, total / count, source="validation")
            self._seen.tell(site, name)
