"""Writes one table of a run: a part per flush, merged into larger ones as they accumulate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..vitals import Table
from ._arrow import ROWS_PER_GROUP, parquet_writer, write_rows
from ._parts import part_name, whole_file

LARGE = 4
"""A part of a quarter of the largest size is not written anew just to save a file."""
MAX_PART_BYTES = 64 << 20
WORK_PER_ROW = 4
"""Rows merged per row written. Each row is merged at most twice on its way up, so that merging keeps pace."""


@dataclass
class Piece:
    """A part that is ours to merge and to shrink.

    `tier` counts the merges behind it; a sealed part is merged no more. `reduced` counts how often
    rows were taken from it to make room.
    """

    path: Path
    first: int
    last: int
    size: int
    rows: int
    tier: int = 0
    sealed: bool = False
    reduced: int = 0


class TableWriter:
    """The directory of one table. Every method may raise OSError; what was written before stays readable.

    `fan_in` parts are merged into one.
    """

    def __init__(self, run: Path, table: Table, *, fan_in: int, max_part_bytes: int = MAX_PART_BYTES) -> None:
        self.table = table
        self.directory = run / table.name
        self._scratch = run / f".{table.name}.part"
        self._merged = run / f".{table.name}.merge"
        self._max_part_bytes = max_part_bytes
        self._fan_in = fan_in
        self.pieces: list[Piece] = []
        self._merge: Iterator[int] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the table on disk."""
        return sum(piece.size for piece in self.pieces)

    def append(self, rows: pa.Table, flush: int) -> None:
        """Write the rows of one flush as a part of their own."""
        self.directory.mkdir(exist_ok=True)
        path = self.directory / part_name(flush, flush)
        with whole_file(path, self._scratch) as file, parquet_writer(file, self.table, in_haste=True) as writer:
            write_rows(writer, rows)
        self.pieces.append(Piece(path, flush, flush, path.stat().st_size, rows.num_rows))

    def merge_some(self, rows: int) -> None:
        """Carry the merging of parts on by about `rows` rows: a long merge never holds up the recorder."""
        while rows > 0:
            if self._merge is None:
                pieces = self._due()
                if not pieces:
                    return
                self._merge = self._merging(pieces)
            try:
                rows -= next(self._merge)
            except StopIteration:
                self._merge = None
            except BaseException:
                self._merge = None
                raise

    def merge_all(self) -> None:
        """Leave few parts: neighbours are merged as far as `max_part_bytes` allows, large ones left alone."""
        while self._merge is not None:
            self.merge_some(1)
        for group in _groups(self.pieces, self._max_part_bytes, self._max_part_bytes // LARGE):
            if len(group) > 1:
                for _ in self._merging(group):
                    pass

    def rewrite(self, piece: Piece, keep: Callable[[pa.Table], Any]) -> int:
        """Leave in a part only the rows where `keep` is true, in place; returns how many went."""
        self.abandon_merge()
        kept = 0
        with whole_file(piece.path, self._scratch) as file, parquet_writer(file, self.table) as writer:
            for rows in _regrouped([piece]):
                chosen = rows.filter(keep(rows))
                kept += chosen.num_rows
                write_rows(writer, chosen)
        gone = piece.rows - kept
        piece.rows, piece.size = kept, piece.path.stat().st_size
        if not kept:
            piece.path.unlink(missing_ok=True)
            self.pieces.remove(piece)
        return gone

    def abandon_merge(self) -> None:
        """Give up a merge under way; its pieces are all still there."""
        self._merge = None

    def recover(self) -> None:
        """After an error: begin no merge where another stopped, nor with pieces that someone has deleted."""
        self.abandon_merge()
        self.pieces = [piece for piece in self.pieces if piece.path.exists()]

    def _due(self) -> list[Piece]:
        """The pieces at the end of one tier, once they are `fan_in` and as many of them as make one part."""
        open_pieces = [piece for piece in self.pieces if not piece.sealed]
        tail = [piece for piece in open_pieces if open_pieces and piece.tier == open_pieces[-1].tier]
        if len(tail) < self._fan_in:
            return []
        group = _groups(tail, self._max_part_bytes)[0]
        if len(group) == 1:
            group[0].sealed = True
            return self._due()
        return group

    def _merging(self, pieces: list[Piece]) -> Iterator[int]:
        """Write `pieces`, which are neighbours, as one part; yields the number of rows after each group."""
        first, last = pieces[0].first, pieces[-1].last
        path = self.directory / part_name(first, last)
        with whole_file(path, self._merged) as file, parquet_writer(file, self.table) as writer:
            for rows in _regrouped(pieces):
                write_rows(writer, rows)
                yield rows.num_rows
        merged = Piece(
            path,
            first,
            last,
            path.stat().st_size,
            rows=sum(piece.rows for piece in pieces),
            tier=pieces[-1].tier + 1,
            reduced=min(piece.reduced for piece in pieces),
        )
        start = self.pieces.index(pieces[0])
        self.pieces[start : start + len(pieces)] = [merged]
        for piece in pieces:
            piece.path.unlink(missing_ok=True)


def _regrouped(pieces: Iterable[Piece]) -> Iterator[pa.Table]:
    """The rows of all pieces in groups of a good size, holding one group in memory at a time."""
    waiting: list[pa.Table] = []
    count = 0
    for piece in pieces:
        with pq.ParquetFile(piece.path) as file:
            for group in range(file.num_row_groups):
                waiting.append(file.read_row_group(group, use_threads=False))
                count += waiting[-1].num_rows
                if count >= ROWS_PER_GROUP:
                    yield _as_one(waiting)
                    waiting, count = [], 0
    if waiting:
        yield _as_one(waiting)


def _as_one(tables: list[pa.Table]) -> pa.Table:
    """One table with one dictionary per column of strings: with several, Parquet would spell the rows out."""
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _groups(pieces: list[Piece], max_bytes: int, large: int | None = None) -> list[list[Piece]]:
    """Neighbours gathered, in order, into groups of at most `max_bytes`; `large` ones stay alone."""
    groups: list[list[Piece]] = []
    room = 0
    for piece in pieces:
        alone = large is not None and piece.size >= large
        if groups and not alone and piece.size <= room:
            groups[-1].append(piece)
        else:
            groups.append([piece])
            room = 0 if alone else max_bytes
        room -= piece.size
    return groups
