"""Blocks of rows as a watched process sends them, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def message(table: str, columns: dict[str, Any], **values: Sequence[Any]) -> tuple[dict[str, Any], bytes]:
    """Header and payload of one `rows` message: `columns` travel as bytes, `values` as lists."""
    arrays = {name: np.ascontiguousarray(column) for name, column in columns.items()}
    rows = len(next(iter([*arrays.values(), *values.values()])))
    header = {
        "type": "rows",
        "table": table,
        "rows": rows,
        "columns": [[name, array.dtype.str] for name, array in arrays.items()],
        "values": values,
    }
    return header, b"".join(array.tobytes() for array in arrays.values())


def steps(first: int, count: int, *, optimizer: int = 0, loss: float = 1.0) -> tuple[dict[str, Any], bytes]:
    """`count` steps of an optimizer from step `first` on."""
    step = np.arange(first, first + count, dtype="<i8")
    return message(
        "steps",
        {
            "optimizer": np.full(count, optimizer, "<i2"),
            "step": step,
            "time": step * 0.01,
            "loss": np.full(count, loss, "<f8"),
            "backwards": np.ones(count, "<i4"),
            "lr": np.full(count, 1e-3),
            "lr_max": np.full(count, 1e-3),
            "grad_norm": 1.0 / (1.0 + step),
            "grad_norm_raw": 1.0 / (1.0 + step),
            "nonfinite": np.zeros(count, "<i4"),
            "evaluations": np.zeros(count, "<i4"),
            "skipped": np.zeros(count, bool),
            "loss_scale": np.ones(count, "<f4"),
            "sampled": step % 16 == 0,
            "watch_seconds": np.full(count, 1e-5, "<f4"),
        },
    )


def tensors(first: int, count: int, width: int, *, optimizer: int = 0) -> tuple[dict[str, Any], bytes]:
    """`count` steps of `width` tensors, named by numbers into names that were sent before."""
    step = np.repeat(np.arange(first, first + count, dtype="<i8"), width)
    norm = (1.0 + np.arange(count * width) % 7).astype("<f4")
    return message(
        "tensors",
        {
            "optimizer": np.full(count * width, optimizer, "<i2"),
            "step": step,
            "tensor": np.tile(np.arange(width, dtype="<i4"), count),
            "grad_norm": norm,
            "grad_norm_raw": norm,
        },
    )
