"""The rows of a run under way: taken in, kept in memory for judging, put on disk part by part."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..vitals import TABLES, Table
from ._arrow import parquet_writer, to_arrow, write_rows
from ._blocks import Block, BlockReader, in_order, joined_blocks
from ._columns import Columns, no_rows
from ._disk import Disk
from ._memory import Memory
from ._parts import all_parts, whole_file
from ._redact import Redactor
from ._retention import make_room
from ._table_writer import MAX_PART_BYTES, WORK_PER_ROW, TableWriter

FLUSH_BYTES = 16 << 20
"""Rows waiting for the disk are written without being asked when they are this many bytes."""
MAX_WAITING_BYTES = 64 << 20
"""While the disk refuses, the oldest rows beyond this are given up."""
RETRY_SECONDS = 30.0
MIN_PART_BYTES = 64 << 10
FAN_IN = 64
"""So many parts of a table are merged into one: with fewer, every row would be written anew more often."""
MIN_FAN_IN = 8
BYTES_PER_PART = 256 << 10
"""Under a size limit, a part for so many bytes of it: a footer takes some 5 kB, room that is lost to rows."""
ROOM = 0.9
"""Share of the size limit that is left in use once it was exceeded."""
FAILURES = ("nonfinite", "exception")


class Store:
    """Takes in rows of all processes. Only `rows` and `names` raise, ValueError, on what does not fit."""

    def __init__(
        self,
        directory: Path | None,
        meta: dict[str, Any],
        max_bytes: int,
        trouble: Callable[[str], None],
        redactor: Redactor,
    ) -> None:
        self._directory = directory
        self._meta = meta
        self._max_bytes = max_bytes
        self._trouble = trouble
        self._redactor = redactor
        self._reader = BlockReader()
        self._memory = Memory(self._reader)
        self._waiting: dict[str, list[Block]] = {}
        self._waiting_bytes = 0
        self._writers: dict[str, TableWriter] = {}
        self._flushes = 0 if directory is None else _next_flush(directory)
        self._refused = 0
        self._retry_at = 0.0
        self._failed_at: dict[tuple[int, int], int] = {}
        self._black_box_due = False

    def names(self, process: int, column: str, first: int, names: Sequence[str]) -> None:
        self._reader.add_names(process, column, first, names)

    def rows(self, process: int, header: dict[str, Any], payload: bytes) -> None:
        table = TABLES.get(str(header.get("table")))
        if table is None:
            raise ValueError(f"no table is called {header.get('table')!r}")
        if table.name in ("events", "metrics"):
            header = {**header, "values": self._redacted(header.get("values", {}))}
        block = self._reader.block(table, process, header, payload)
        if not block.rows:
            return
        self._memory.add(table.name, block)
        self._waiting.setdefault(table.name, []).append(block)
        self._waiting_bytes += block.nbytes
        if table.name == "events":
            self._look_for_failure(block)
        if self._waiting_bytes > FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put waiting rows on disk, carry the merging on, keep to the size limit."""
        if self._directory is None:
            self._waiting.clear()
            self._waiting_bytes = 0
            return
        if time.monotonic() < self._retry_at:
            self._give_up_oldest()
            return
        try:
            self._write_waiting()
            self._write_black_box()
            self._keep_to_limit()
        except (OSError, pa.ArrowException) as error:
            self._refuse(error)

    def close(self) -> None:
        """The last flush, which tries again whatever was refused before; then as few parts as can be."""
        self._retry_at = 0.0
        self.flush()
        if self._directory is None or self._refused:
            return
        try:
            for writer in self._writers.values():
                writer.merge_all()
        except (OSError, pa.ArrowException) as error:
            self._refuse(error)

    def source(self) -> MemorySource:
        return MemorySource(self._memory, self._directory if self._writers else None)

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        directory = self._directory
        assert directory is not None
        flush, self._flushes = self._flushes, self._flushes + 1
        for name in list(self._waiting):
            table = TABLES[name]
            writer = self._writers.get(name) or self._new_writer(directory, table)
            block = in_order(joined_blocks(table, self._waiting[name]))
            writer.append(to_arrow(table, block, self._reader.names), flush)
            self._writers[name] = writer
            self._waiting_bytes -= sum(block.nbytes for block in self._waiting.pop(name))
            writer.merge_some(WORK_PER_ROW * block.rows)
        self._refused = 0

    def _new_writer(self, directory: Path, table: Table) -> TableWriter:
        return TableWriter(
            directory,
            table,
            max_part_bytes=max(MIN_PART_BYTES, min(MAX_PART_BYTES, self._max_bytes // 16)),
            fan_in=min(FAN_IN, max(MIN_FAN_IN, self._max_bytes // BYTES_PER_PART)),
        )

    def _keep_to_limit(self) -> None:
        used = sum(writer.nbytes for writer in self._writers.values())
        if used > self._max_bytes:
            self._count_dropped(make_room(self._writers, used - int(ROOM * self._max_bytes)))

    def _look_for_failure(self, block: Block) -> None:
        """The first failure of an optimizer calls for the black box."""
        kinds = self._reader.names_of("kind").spelled(block.values["kind"]) if "kind" in block.values else ()
        for i, kind in enumerate(kinds):
            if kind in FAILURES:
                key = (int(block.values["process"][i]), int(block.values["optimizer"][i]))
                if key not in self._failed_at:
                    self._failed_at[key] = int(block.values["step"][i])
                    self._black_box_due = True

    def _write_black_box(self) -> None:
        """The last steps in full, in files of their own that no size limit touches.

        Written again while the rows of the step that failed are still to come. The weights and event.json
        beside them are the watched process's own; the latter names tensors, operations and ranges of
        numbers, no text of the script's, so that there is nothing in it to redact.
        """
        if not self._black_box_due or self._directory is None:
            return
        box = self._directory / "blackbox"
        box.mkdir(exist_ok=True)
        for name, block in self._memory.recent().items():
            if not block.rows:
                continue
            table = TABLES[name]
            scratch = self._directory / f".blackbox-{name}.part"
            with whole_file(box / f"{name}.parquet", scratch) as file, parquet_writer(file, table) as writer:
                write_rows(writer, to_arrow(table, in_order(block), self._reader.names))
        self._black_box_due = any(self._memory.latest(key) < step for key, step in self._failed_at.items())

    def _redacted(self, values: dict[str, Any]) -> dict[str, Any]:
        """Messages, tracebacks and names of metrics may quote a secret."""
        return {
            name: [self._redacted_text(item) if isinstance(item, str) else item for item in items]
            for name, items in values.items()
        }

    def _redacted_text(self, text: str) -> str:
        if text[:1] in "{[":
            try:
                return json.dumps(self._redactor.tree(json.loads(text)))
            except (ValueError, RecursionError):
                pass
        return self._redactor.text(text)

    def _refuse(self, error: Exception) -> None:
        """Wait longer after each refusal; for good where the directory was deleted."""
        directory = self._directory
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else str(error).splitlines()[0]
        for writer in self._writers.values():
            writer.recover()
        if directory is not None and not directory.is_dir():
            self._trouble(f"{directory} was deleted while the run went on; it is kept in memory only")
            self._directory = None
            self._waiting.clear()
            self._waiting_bytes = 0
            return
        self._trouble(f"cannot write to {directory}: {reason}; what is there stays readable")
        wait = RETRY_SECONDS * 2 ** min(self._refused, 5)
        self._refused += 1
        self._retry_at = time.monotonic() + wait
        self._give_up_oldest()

    def _give_up_oldest(self) -> None:
        dropped: dict[str, dict[str, int]] = {}
        for name in ("tensors", "modules", "losses", "metrics", "guard", "steps", "events"):
            blocks = self._waiting.get(name, [])
            while blocks and self._waiting_bytes > MAX_WAITING_BYTES:
                block = blocks.pop(0)
                self._waiting_bytes -= block.nbytes
                count = dropped.setdefault(name, {"rows": 0, "bytes": 0})
                count["rows"] += block.rows
                count["bytes"] += block.nbytes
            if not blocks:
                self._waiting.pop(name, None)
        self._count_dropped(dropped)

    def _count_dropped(self, dropped: dict[str, dict[str, int]]) -> None:
        for name, count in dropped.items():
            total = self._meta["dropped"].setdefault(name, {"rows": 0, "bytes": 0})
            for unit, number in count.items():
                total[unit] += number


def _next_flush(directory: Path) -> int:
    """One more than the last flush of which there is a part: 0 in a new run."""
    return 1 + max((part.last for name in TABLES for part in all_parts(directory / name)), default=-1)


class MemorySource:
    """What the recorder holds; a step that it no longer holds is read from the disk."""

    def __init__(self, memory: Memory, directory: Path | None) -> None:
        self._memory = memory
        self._disk = Disk(directory) if directory is not None else None
        self.damage: list[str] = self._disk.damage if self._disk is not None else []

    def whole(self, table: str) -> Columns:
        return self._memory.whole(table)

    def at(self, table: str, process: int, optimizer: int, step: int) -> Columns:
        held = self._memory.at(table, process, optimizer, step)
        if held is not None:
            return held
        if self._disk is None:
            return no_rows(TABLES[table])
        return self._disk.at(table, process, optimizer, step)
