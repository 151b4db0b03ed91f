"""Blocks of rows on their way from a watched process to the disk: columns as they came, null apart from NaN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..vitals import Table
from ._columns import STANDS_FOR, Array, Columns, null_of, nulls

PRESENT = "?"
"""A boolean column called "NAME?" says in which rows NAME was measured; without it, in all of the block."""


class Names:
    """The distinct strings of one column; rows hold their positions, -1 for null."""

    def __init__(self) -> None:
        self.strings: list[str] = []
        self._positions: dict[str, int] = {}

    def position(self, string: str) -> int:
        """Number of `string`, given on first sight. A lone surrogate, which no file can hold, becomes "?"."""
        position = self._positions.get(string)
        if position is None:
            sound = string.encode("utf-8", "replace").decode()
            position = self._positions.setdefault(sound, len(self.strings))
            self._positions[string] = position
            if position == len(self.strings):
                self.strings.append(sound)
        return position

    def positions(self, strings: Iterable[str | None]) -> Array:
        return np.array([-1 if s is None else self.position(str(s)) for s in strings], dtype=np.int32)

    def spelled(self, positions: Array) -> Array:
        """Object array of the strings at `positions`, None at -1."""
        table = np.array([*self.strings, None], dtype=object)
        return table[positions]


@dataclass
class Block:
    """Rows of one table.

    A column that is not in `values` was not measured in any row; where a column is in `measured`
    (boolean, one per row), only in the rows that are True there. Strings are positions in `Names`.
    """

    rows: int
    values: dict[str, Array] = field(default_factory=dict)
    measured: dict[str, Array] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in self.values.values())

    def where(self, mask: Array) -> Block:
        """The rows that a boolean mask or an array of positions picks."""
        values = {name: column[mask] for name, column in self.values.items()}
        measured = {name: column[mask] for name, column in self.measured.items()}
        rows = int(np.count_nonzero(mask)) if mask.dtype == bool else len(mask)
        return Block(rows, values, measured)


class BlockReader:
    """Turns the `rows` messages of all processes into blocks that share their names."""

    def __init__(self) -> None:
        self.names: dict[str, Names] = {}
        self._sent: dict[tuple[int, str], list[int]] = {}

    def names_of(self, column: str) -> Names:
        return self.names.setdefault(column, Names())

    def add_names(self, process: int, column: str, first: int, names: Sequence[str]) -> None:
        """From now on, `process` refers to `names` in `column` by the numbers from `first` on."""
        known = self._sent.setdefault((process, column), [])
        if not 0 <= first <= len(known):
            raise ValueError(f"names of {column!r} begin at {first}, but {len(known)} are known")
        known[first:] = [self.names_of(column).position(str(name)) for name in names]

    def block(self, table: Table, process: int, header: dict[str, Any], payload: bytes) -> Block:
        """Read one message. Raises ValueError where it does not fit the table."""
        rows = int(header["rows"])
        arrived = _arrays(rows, header.get("columns", ()), payload)
        lists = header.get("values", {})
        block = Block(rows, {"process": np.full(rows, process, "<i2")})
        for quantity in table.quantities:
            name, dtype = quantity.name, quantity.dtype
            if name == "process":
                continue
            if name in arrived:
                column = arrived[name]
                block.values[name] = self._known(process, name, column) if dtype == "str" else _as(dtype, column, name)
            elif name in lists:
                self._add_list(block, name, dtype, lists[name])
            if name + PRESENT in arrived and name in block.values:
                block.measured[name] = _as("|b1", arrived[name + PRESENT], name)
        for key in ("optimizer", "step"):
            if key not in block.values or key in block.measured:
                raise ValueError(f"rows of {table.name!r} without {key!r}")
        if table.name == "steps" and "loss" in block.values and "backwards" in block.values:
            _require_backward(block)
        return block

    def _known(self, process: int, column: str, numbers: Array) -> Array:
        known = np.array([*self._sent.get((process, column), ()), -1], dtype=np.int32)
        if len(numbers) and not (int(numbers.min()) >= -1 and int(numbers.max()) < len(known) - 1):
            raise ValueError(f"{column!r} refers to a name that was never sent")
        return known[numbers]

    def _add_list(self, block: Block, name: str, dtype: str, items: Sequence[Any]) -> None:
        if len(items) != block.rows:
            raise ValueError(f"{name!r} has {len(items)} values in a block of {block.rows} rows")
        if dtype == "str":
            block.values[name] = self.names_of(name).positions(items)
            return
        missing = np.array([item is None for item in items], dtype=bool)
        filler = null_of(dtype)
        filled = [filler if item is None else item for item in items]
        block.values[name] = np.array(filled, dtype=np.dtype(dtype))
        if missing.any():
            block.measured[name] = ~missing


def joined_blocks(table: Table, blocks: Sequence[Block]) -> Block:
    """The rows of several blocks of a table as one block whose arrays are its own."""
    rows = sum(block.rows for block in blocks)
    whole = Block(rows)
    for quantity in table.quantities:
        name, dtype = quantity.name, "<i4" if quantity.dtype == "str" else quantity.dtype
        if not any(name in block.values for block in blocks):
            continue
        whole.values[name] = np.concatenate(
            [block.values[name] if name in block.values else nulls(dtype, block.rows) for block in blocks]
        )
        if any(name in block.measured or name not in block.values for block in blocks):
            whole.measured[name] = np.concatenate([_measured(block, name) for block in blocks])
    return whole


def in_order(block: Block) -> Block:
    """The same rows by step, then process, then optimizer; else in the order in which they came."""
    step, process, optimizer = (block.values[key] for key in ("step", "process", "optimizer"))
    if block.rows < 2:
        return block
    order = np.lexsort((optimizer, process, step))
    if bool(np.all(order[1:] > order[:-1])):
        return block
    return block.where(order)


def to_columns(table: Table, block: Block, names: dict[str, Names]) -> Columns:
    """The block as it is read: nulls filled in, strings spelled out."""
    columns: Columns = {}
    for quantity in table.quantities:
        name, dtype = quantity.name, quantity.dtype
        instead = STANDS_FOR.get(name)
        if name not in block.values:
            columns[name] = columns[instead] if instead in columns else nulls(dtype, block.rows)
        elif dtype == "str":
            columns[name] = names[name].spelled(block.values[name])
        elif name in block.measured:
            filler = columns[instead] if instead in columns else np.asarray(null_of(dtype), dtype)
            columns[name] = np.where(block.measured[name], block.values[name], filler)
        else:
            columns[name] = block.values[name]
    return columns


def _arrays(rows: int, columns: Iterable[Sequence[str]], payload: bytes) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    offset = 0
    for name, dtype in columns:
        kind = np.dtype(dtype)
        if kind.kind not in "bif" or rows < 0:
            raise ValueError(f"{name!r} has the dtype {dtype!r}, which is no number")
        arrays[name] = np.frombuffer(payload, kind, rows, offset)
        offset += rows * kind.itemsize
    if offset != len(payload):
        raise ValueError(f"a block of {offset} bytes came with {len(payload)}")
    return arrays


def _as(dtype: str, column: Array, name: str) -> Array:
    kind = np.dtype(dtype)
    if column.dtype == kind:
        return column
    if column.dtype.kind != kind.kind:
        raise ValueError(f"{name!r} came as {column.dtype}, it is {kind}")
    with np.errstate(over="ignore", invalid="ignore"):
        return column.astype(kind)


def _measured(block: Block, name: str) -> Array:
    if name not in block.values:
        return np.zeros(block.rows, dtype=bool)
    return block.measured.get(name, np.ones(block.rows, dtype=bool))


def _require_backward(block: Block) -> None:
    """A step without a backward pass has no loss, whatever number came in its place."""
    backward = block.values["backwards"] != 0
    if not backward.all():
        block.measured["loss"] = _measured(block, "loss") & backward
