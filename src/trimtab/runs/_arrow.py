"""Between blocks, Parquet files and NumPy columns: the schema of each table, written and read."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..vitals import KEY, TABLES, Table
from ._blocks import Block, Names
from ._columns import STANDS_FOR, Array, Columns, null_of, nulls

ROWS_PER_GROUP = 65_536
"""Rows per row group, at least: a step is found by the statistics of the groups, and its group read whole."""

_STRING = pa.dictionary(pa.int32(), pa.string())
_KEYS = [quantity.name for quantity in KEY]


def arrow_type(dtype: str) -> pa.DataType:
    return _STRING if dtype == "str" else pa.from_numpy_dtype(np.dtype(dtype))


def schema_of(table: Table) -> pa.Schema:
    return pa.schema([(quantity.name, arrow_type(quantity.dtype)) for quantity in table.quantities])


SCHEMAS = {name: schema_of(table) for name, table in TABLES.items()}


def parquet_writer(file: BinaryIO, table: Table, *, in_haste: bool = False) -> pq.ParquetWriter:
    """A writer with the encodings that suit norms and counters (`benchmarks/record.py --encodings`).

    Floats are split into byte streams: of a norm, the exponent's bytes compress and the last bytes of
    the mantissa do not. Whatever repeats (keys, names, counts) becomes runs of a dictionary. `in_haste`: a
    file that will soon be merged into another is packed in two thirds of the time, a fifth larger.
    """
    floats = [q.name for q in table.quantities if _is_float(q.dtype)]
    repeating = [q.name for q in table.quantities if not _is_float(q.dtype) and q.dtype != "|b1"]
    return pq.ParquetWriter(
        file,
        SCHEMAS[table.name],
        compression="snappy" if in_haste else "zstd",
        compression_level=None if in_haste else 3,
        use_dictionary=repeating,
        use_byte_stream_split=floats,
        write_statistics=_KEYS,
    )


def write_rows(writer: pq.ParquetWriter, rows: pa.Table) -> None:
    """Append rows in groups of equal size, none of them a small remainder."""
    groups = max(1, rows.num_rows // ROWS_PER_GROUP)
    writer.write_table(rows, row_group_size=max(1, -(-rows.num_rows // groups)))


def to_arrow(table: Table, block: Block, names: dict[str, Names]) -> pa.Table:
    """The block as an Arrow table with every column of the schema."""
    arrays = []
    for quantity in table.quantities:
        name = quantity.name
        if name not in block.values:
            arrays.append(pa.nulls(block.rows, arrow_type(quantity.dtype)))
        elif quantity.dtype == "str":
            arrays.append(_dictionary(block.values[name], names[name].strings))
        else:
            mask = ~block.measured[name] if name in block.measured else None
            kind = arrow_type(quantity.dtype)
            arrays.append(pa.array(block.values[name], kind, mask=mask, from_pandas=False))
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[table.name])


def from_arrow(table: Table, rows: pa.Table) -> Columns:
    """NumPy columns of every quantity of the table: all null where it is absent or of an alien type."""
    columns: Columns = {}
    for quantity in table.quantities:
        column = _column(rows, quantity.name)
        columns[quantity.name] = _to_numpy(column, quantity.dtype, rows.num_rows)
    return columns


def _column(rows: pa.Table, name: str) -> Any:
    column = rows.column(name) if name in rows.column_names else None
    instead = STANDS_FOR.get(name)
    if instead not in rows.column_names or (column is not None and not column.null_count):
        return column
    other = rows.column(instead)
    return other if column is None or column.null_count == len(column) else pc.coalesce(column, other)


def _to_numpy(column: Any, dtype: str, rows: int) -> Array:
    if column is None:
        return nulls(dtype, rows)
    try:
        if dtype == "str":
            return _strings(column)
        column = column.cast(arrow_type(dtype))
    except pa.ArrowException:
        return nulls(dtype, rows)
    if column.null_count:
        column = column.fill_null(null_of(dtype))
    numbers: Array = column.to_numpy()
    return numbers


def _strings(column: pa.ChunkedArray) -> Array:
    """Each distinct string is made once, however many rows refer to it."""
    pieces = []
    for chunk in column.chunks:
        if not pa.types.is_dictionary(chunk.type):
            chunk = chunk.cast(pa.string()).dictionary_encode()
        distinct = np.array([*chunk.dictionary.cast(pa.string()).to_pylist(), None], dtype=object)
        pieces.append(distinct[chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False)])
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=object)


def _dictionary(positions: Array, strings: list[str]) -> pa.DictionaryArray:
    """Dictionary array of just the strings that occur."""
    used = np.zeros(len(strings) + 1, dtype=bool)
    used[positions] = True
    missing = positions < 0
    occurring = np.flatnonzero(used[:-1])
    renumbered = (np.cumsum(used) - 1).astype(np.int32)[positions]
    indices = pa.array(renumbered, mask=missing if missing.any() else None)
    return pa.DictionaryArray.from_arrays(indices, pa.array([strings[i] for i in occurring], pa.string()))


def _is_float(dtype: str) -> bool:
    return dtype != "str" and np.dtype(dtype).kind == "f"
