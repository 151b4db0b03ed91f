"""What a recorder keeps in memory of the run that it writes, for judging it while it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..vitals import TABLES, Table
from ._blocks import Block, BlockReader, joined_blocks, to_columns
from ._columns import Array, Columns, no_rows, rows_where

RECENT_STEPS = 64
RECENT_SAMPLES = 8
"""The last sampled steps that are held: the three that a judgement reads and those whose rows of `steps` come later."""
MAX_ROWS = 2_000_000
MAX_NOTABLE_STEPS = 32
MAX_SERIES = 256
"""Optimizers of which tensors and modules are held: those that moved last. A sweep may make thousands."""

Key = tuple[int, int]
"""Process and optimizer."""


class Kept:
    """All rows of a table that has about one per step; thinned where they become too many.

    They lie in arrays with room to spare, so that a judgement costs no copy of them all; what `columns` gave is
    never written again.
    """

    def __init__(self, table: Table, reader: BlockReader, max_rows: int = MAX_ROWS) -> None:
        self._table, self._reader, self._max_rows = table, reader, max_rows
        self._arrays = no_rows(table)
        self._rows = 0
        self._new: list[Block] = []
        self._new_rows = 0

    def add(self, block: Block) -> None:
        self._new.append(block)
        self._new_rows += block.rows
        if self._new_rows > self._max_rows // 4:
            self.columns()

    def columns(self) -> Columns:
        if self._new:
            self._append(to_columns(self._table, joined_blocks(self._table, self._new), self._reader.names))
            self._new, self._new_rows = [], 0
            if self._rows > self._max_rows:
                whole = self._held()
                self._arrays = rows_where(whole, _thinned(whole))
                self._rows = len(self._arrays["step"])
        return self._held()

    def _held(self) -> Columns:
        return {name: values[: self._rows] for name, values in self._arrays.items()}

    def _append(self, new: Columns) -> None:
        rows = self._rows + len(new["step"])
        if rows > len(self._arrays["step"]):
            self._arrays = {name: _with_room(values, 2 * rows) for name, values in self._held().items()}
        for name, values in new.items():
            self._arrays[name][self._rows : rows] = values
        self._rows = rows


def _with_room(values: Array, rows: int) -> Array:
    roomy = np.empty(rows, dtype=values.dtype)
    roomy[: len(values)] = values
    return roomy


def _thinned(whole: Columns) -> Array:
    """Of the older half every other row and the non-finite ones; all of the newer half."""
    rows = len(whole["step"])
    position = np.arange(rows)
    keep: Array = (position % 2 == 0) | (position >= rows // 2) | (whole["step"] == 0)
    if "nonfinite" in whole and int(np.sum(whole["nonfinite"] > 0)) < rows // 8:
        keep |= whole["nonfinite"] > 0
    return keep


@dataclass
class _Recent:
    """Rows of one optimizer: the last blocks as they came, and of earlier ones the steps worth keeping."""

    blocks: list[Block] = field(default_factory=list)
    kept: dict[int, Block] = field(default_factory=dict)
    first: int = -1
    latest: int = -1


class Window:
    """Rows of a table with many per step: by optimizer the first, the most recent and the notable steps."""

    def __init__(self, table: Table, reader: BlockReader, recent: int) -> None:
        self._table, self._reader, self._recent = table, reader, recent
        self._series: dict[Key, _Recent] = {}
        self._notable: dict[Key, set[int]] = {}
        self._sampled: dict[Key, list[int]] = {}

    def keep(self, key: Key, step: int) -> None:
        """Hold on to the rows of this step when it leaves the window."""
        steps = self._notable.setdefault(key, set())
        if len(steps) < MAX_NOTABLE_STEPS:
            steps.add(step)

    def note_sample(self, key: Key, step: int) -> None:
        """Hold on to this step until `RECENT_SAMPLES` later ones have been sampled."""
        known = self._sampled.get(key, [])
        if step not in known:
            self._sampled[key] = sorted([*known, step])[-RECENT_SAMPLES:]

    def add(self, block: Block) -> None:
        """Take in rows, one or more, of one process."""
        process, optimizer = int(block.values["process"][0]), block.values["optimizer"]
        if optimizer.min() == optimizer.max():
            self._add((process, int(optimizer[0])), block)
            return
        for index in np.unique(optimizer).tolist():
            self._add((process, index), block.where(optimizer == index))

    def steps(self, key: Key) -> list[int]:
        """Every step of which this window has rows."""
        series = self._series.get(key, _Recent())
        held = set(series.kept)
        for block in series.blocks:
            held.update(block.values["step"].tolist())
        return sorted(held)

    def at(self, key: Key, step: int) -> Columns | None:
        """The rows of one step; None where they are not held."""
        series = self._series.get(key)
        if series is None:
            return None
        found = [series.kept[step]] if step in series.kept else []
        for block in series.blocks:
            mask = block.values["step"] == step
            if mask.any():
                found.append(block.where(mask))
        return self._columns(found) if found else None

    def latest(self, key: Key) -> int:
        return self._series[key].latest if key in self._series else -1

    def recent(self) -> Block:
        """The rows of the last `recent` steps of every optimizer."""
        found = []
        for series in self._series.values():
            for block in series.blocks:
                mask = block.values["step"] > series.latest - self._recent
                if mask.any():
                    found.append(block.where(mask))
        return joined_blocks(self._table, found)

    def _columns(self, blocks: Iterable[Block]) -> Columns:
        return to_columns(self._table, joined_blocks(self._table, list(blocks)), self._reader.names)

    def _add(self, key: Key, block: Block) -> None:
        series = self._series[key] = self._series.pop(key, _Recent())
        if len(self._series) > MAX_SERIES:
            del self._series[next(iter(self._series))]
        steps = block.values["step"]
        if series.first < 0:
            series.first = int(steps.min())
        series.blocks.append(block)
        series.latest = max(series.latest, int(steps.max()))
        oldest = series.latest - self._recent
        leaving = [block for block in series.blocks if int(block.values["step"].max()) <= oldest]
        if leaving:
            series.blocks = [block for block in series.blocks if int(block.values["step"].max()) > oldest]
            self._retire(key, series, leaving)

    def _retire(self, key: Key, series: _Recent, leaving: list[Block]) -> None:
        """Of blocks that leave the window, keep the rows of the steps worth keeping."""
        lasting = {series.first, *self._sampled.get(key, ()), *self._notable.get(key, ())}
        series.kept = {step: block for step, block in series.kept.items() if step in lasting}
        for block in leaving:
            steps = block.values["step"]
            low, high = int(steps.min()), int(steps.max())
            for step in [step for step in lasting if low <= step <= high and np.any(steps == step)]:
                rows = block.where(steps == step)
                known = series.kept.get(step)
                series.kept[step] = rows if known is None else joined_blocks(self._table, [known, rows])


class Memory:
    """All tables of a run under way, bounded."""

    def __init__(self, reader: BlockReader) -> None:
        self._kept = {name: Kept(TABLES[name], reader) for name in ("steps", "losses", "guard", "metrics", "events")}
        self.windows = {
            "tensors": Window(TABLES["tensors"], reader, RECENT_STEPS),
            "modules": Window(TABLES["modules"], reader, 1),
        }
        self._last_steps = Window(TABLES["steps"], reader, RECENT_STEPS)

    def add(self, table: str, block: Block) -> None:
        if table == "modules":  # has rows of sampled steps alone, which come ahead of their rows of `steps`
            for process, optimizer, step in set(_keys(block, np.ones(block.rows, dtype=bool))):
                self.windows["modules"].note_sample((process, optimizer), step)
        if table in self.windows:
            self.windows[table].add(block)
            return
        self._kept[table].add(block)
        if table == "steps":
            self._last_steps.add(block)
        if table == "steps" and "sampled" in block.values:
            for process, optimizer, step in _keys(block, block.values["sampled"]):
                for window in self.windows.values():
                    window.note_sample((process, optimizer), step)
        elif table == "events":
            for process, optimizer, step in _keys(block, np.ones(block.rows, dtype=bool)):
                for window in self.windows.values():
                    window.keep((process, optimizer), step)

    def whole(self, table: str) -> Columns:
        return self._kept[table].columns()

    def recent(self) -> dict[str, Block]:
        """All rows of `steps` and `tensors` of the last `RECENT_STEPS` steps of every optimizer."""
        return {"steps": self._last_steps.recent(), "tensors": self.windows["tensors"].recent()}

    def latest(self, key: Key) -> int:
        """The last step of an optimizer of which a row has come; -1 before any."""
        return self._last_steps.latest(key)

    def at(self, table: str, process: int, optimizer: int, step: int) -> Columns | None:
        return self.windows[table].at((process, optimizer), step)


def _keys(block: Block, mask: Array) -> list[tuple[int, int, int]]:
    columns = [block.values[name][mask].tolist() for name in ("process", "optimizer", "step")]
    return list(zip(*columns, strict=True))
