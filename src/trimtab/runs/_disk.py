"""Reads the tables of a run directory, whoever wrote it and whatever happened to it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .._errors import TrimtabError
from ..vitals import TABLES
from ._arrow import from_arrow
from ._columns import Columns, joined, no_rows
from ._parts import Part, all_parts, superseded

MAX_ROWS = 20_000_000
"""Rows of one table that are read whole, at most. A file of a few bytes can claim any number of them."""
TRIES = 20
MAX_GROUP_BYTES = 1 << 30
"""Size of a row group when unpacked, at most: one part of ours, merged, is far below it."""


@dataclass(frozen=True)
class _Footer:
    """What the end of a part says about its row groups: rows, and the least and the largest step of each."""

    metadata: pq.FileMetaData
    rows: list[int]
    spans: list[tuple[int, int] | None]


class Disk:
    """The parts of a run. What cannot be read is passed over and named in `damage`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[str] = []
        self._footers: dict[Path, _Footer] = {}

    def whole(self, table: str) -> Columns:
        """Every row of a table, in order of flushes."""
        return self._steadily(lambda: self._whole(table))

    def at(self, table: str, process: int, optimizer: int, step: int) -> Columns:
        """The rows of one step of one optimizer."""
        return self._steadily(lambda: self._at(table, (process, optimizer, step)))

    def _steadily(self, read: Callable[[], Columns]) -> Columns:
        """Read anew where the recorder of a run under way has merged parts between the look and the reading."""
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError):
                return read()
        raise TrimtabError(f"{self.path} changes faster than it can be read; try again when the run has ended")

    def _whole(self, table: str) -> Columns:
        pieces: list[Columns] = []
        rows = 0
        for part in self._parts(table):
            footer = self._footers[part.path]
            if rows + sum(footer.rows) > MAX_ROWS:
                self._note(part.path, f"beyond the first {MAX_ROWS:,} rows; not read, nor is any later part")
                break
            read = self._read(table, part, list(range(len(footer.rows))))
            if read is not None:
                pieces.append(read)
                rows += sum(footer.rows)
        return joined(TABLES[table], pieces)

    def _at(self, table: str, key: tuple[int, int, int]) -> Columns:
        pieces: list[Columns] = []
        for part in self._parts(table):
            spans = self._footers[part.path].spans
            groups = [i for i, span in enumerate(spans) if span is None or span[0] <= key[2] <= span[1]]
            read = self._read(table, part, groups, key) if groups else None
            if read is not None:
                pieces.append(read)
        return joined(TABLES[table], pieces) if pieces else no_rows(TABLES[table])

    def _parts(self, table: str) -> Iterator[Part]:
        """The parts that count, each once, their footers read."""
        unread = all_parts(self.path / table)
        readable = [part for part in unread if self._footer(part) is not None]
        inner = superseded(readable)
        return iter([part for part in readable if part not in inner])

    def _footer(self, part: Part) -> _Footer | None:
        known = self._footers.get(part.path)
        if known is not None:
            return known
        try:
            with _open(part) as file:
                self._footers[part.path] = _read_footer(file)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException, ValueError) as error:
            self._note(part.path, _first_line(error))
        return self._footers.get(part.path)

    def _read(
        self, table: str, part: Part, groups: list[int], key: tuple[int, int, int] | None = None
    ) -> Columns | None:
        try:
            with _open(part, self._footers[part.path].metadata) as file:
                rows = file.read_row_groups(groups, use_threads=False)
            if key is not None:
                rows = _rows_of(rows, *key)
            return from_arrow(TABLES[table], rows)
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException, ValueError) as error:
            self._note(part.path, _first_line(error))
            return None

    def _note(self, path: Path, trouble: str) -> None:
        line = f"{path.parent.name}/{path.name}: {trouble}"
        if line not in self.damage:
            self.damage.append(line)


def _open(part: Part, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    limits = {"thrift_string_size_limit": 1 << 24, "thrift_container_size_limit": 1 << 20}
    return pq.ParquetFile(part.path, metadata=metadata, **limits)


def _read_footer(file: pq.ParquetFile) -> _Footer:
    metadata = file.metadata
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    if "step" not in names:
        raise ValueError("it has no column `step`")
    column = names.index("step")
    footer = _Footer(metadata, [], [])
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        size = sum(group.column(j).total_uncompressed_size for j in range(group.num_columns))
        if size > MAX_GROUP_BYTES or group.num_rows > MAX_ROWS:
            raise ValueError(f"a row group of {group.num_rows:,} rows, {size:,} bytes, is too large to read")
        statistics = group.column(column).statistics
        known = statistics is not None and statistics.has_min_max
        footer.rows.append(group.num_rows)
        footer.spans.append((statistics.min, statistics.max) if known else None)
    return footer


def _rows_of(rows: pa.Table, process: int, optimizer: int, step: int) -> pa.Table:
    mask = pc.equal(rows.column("step"), step)
    for name, value in (("process", process), ("optimizer", optimizer)):
        mask = pc.and_(mask, pc.equal(rows.column(name), value))
    return rows.filter(mask)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
