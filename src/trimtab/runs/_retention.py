"""What a run gives up when it reaches its size limit: the oldest detail first, the course of it last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ._table_writer import Piece, TableWriter

DETAIL = ("tensors", "modules")
COURSE = ("steps", "losses", "metrics")
MAX_THINNING = 10
"""Halvings of a part, at most: 1 row in 1,024 is left of it."""


def make_room(tables: Mapping[str, TableWriter], excess: int) -> dict[str, dict[str, int]]:
    """Give up at least `excess` bytes, if that can be; returns rows and bytes that went, by table.

    Parts of `tensors`, then of `modules`, lose all but step 0, oldest first. Then `steps`, `losses` and
    `metrics` are thinned to every 2nd, 4th, 8th... step, the sampled and the non-finite ones kept. Events
    stay.
    """
    dropped: dict[str, dict[str, int]] = {}
    for name in DETAIL:
        for piece in list(tables[name].pieces) if name in tables else ():
            if excess <= 0:
                return dropped
            if not piece.reduced:
                excess -= _reduce(tables[name], piece, 0, dropped)
    for thinning in range(1, MAX_THINNING + 1):
        for name in COURSE:
            for piece in list(tables[name].pieces) if name in tables else ():
                if excess <= 0:
                    return dropped
                if piece.reduced < thinning:
                    excess -= _reduce(tables[name], piece, 2**thinning, dropped)
    return dropped


def _reduce(table: TableWriter, piece: Piece, stride: int, dropped: dict[str, dict[str, int]]) -> int:
    before = piece.size
    gone = table.rewrite(piece, lambda rows: _kept(rows, stride))
    piece.reduced += 1
    freed = before - piece.size if piece.rows else before
    count = dropped.setdefault(table.table.name, {"rows": 0, "bytes": 0})
    count["rows"] += gone
    count["bytes"] += freed
    return freed


def _kept(rows: pa.Table, stride: int) -> Any:
    """Step 0 alone for a stride of 0; else every step that is a multiple of it, and the telling ones."""
    step = rows.column("step")
    keep = pc.equal(step, 0)
    if stride:
        keep = pc.or_(keep, pc.equal(pc.bit_wise_and(step, stride - 1), 0))
    if "sampled" in rows.column_names:
        telling = pc.or_kleene(rows.column("sampled"), pc.greater(rows.column("nonfinite"), 0))
        keep = pc.or_(keep, pc.fill_null(telling, False))
    return keep
