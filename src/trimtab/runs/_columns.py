"""Rows of a table as NumPy columns: the form in which a record is read and judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..vitals import Table

Array: TypeAlias = npt.NDArray[Any]
Columns: TypeAlias = dict[str, Array]
"""Every quantity of a table by name, arrays of one length. What was not measured is NaN in a float column,
-1 in an integer column, False in a boolean one and None in one of strings (which are object arrays)."""


STANDS_FOR = {"grad_norm_raw": "grad_norm"}
"""Where the first was not measured, no clip was seen, and the second is it."""


def null_of(dtype: str) -> Any:
    """What stands for "not measured" in a column of this dtype."""
    if dtype == "str":
        return None
    return {"f": np.nan, "i": -1, "b": False}[np.dtype(dtype).kind]


def nulls(dtype: str, rows: int) -> Array:
    """A column in which nothing was measured."""
    return np.full(rows, null_of(dtype), dtype=object if dtype == "str" else np.dtype(dtype))


def no_rows(table: Table) -> Columns:
    return {quantity.name: nulls(quantity.dtype, 0) for quantity in table.quantities}


def rows_where(columns: Columns, mask: Array) -> Columns:
    """The rows that a boolean mask or an array of positions picks."""
    return {name: values[mask] for name, values in columns.items()}


def sorted_by_step(columns: Columns) -> Columns:
    """The same rows in order of step; rows of one step keep their order."""
    steps = columns["step"]
    if len(steps) < 2 or bool(np.all(steps[1:] >= steps[:-1])):
        return columns
    return rows_where(columns, np.argsort(steps, kind="stable"))


def joined(table: Table, pieces: Sequence[Columns]) -> Columns:
    """The rows of several pieces, one after the other."""
    if not pieces:
        return no_rows(table)
    if len(pieces) == 1:
        return pieces[0]
    return {q.name: np.concatenate([piece[q.name] for piece in pieces]) for q in table.quantities}
