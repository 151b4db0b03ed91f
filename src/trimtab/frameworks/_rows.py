"""Blocks of steps as rows of the tables `steps` and `tensors`, whichever framework took the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._outbox import Column, Outbox

Norms = np.ndarray[Any, np.dtype[np.float64]]


def send_steps(
    outbox: Outbox, optimizer: int, steps: np.ndarray[Any, Any], columns: dict[str, Any], applied: Norms, raw: Norms
) -> None:
    """Rows of `steps`: `columns`, and what follows from the tensors' norms, both of shape (steps, tensors)."""
    total = total_norm(applied)
    columns |= {
        "optimizer": np.full(len(steps), optimizer),
        "step": steps,
        "grad_norm": total,
        "grad_norm_raw": total if raw is applied else total_norm(raw),
        "nonfinite": (~np.isfinite(raw)).sum(1),
    }
    outbox.rows("steps", columns)


def send_tensors(
    outbox: Outbox,
    optimizer: int,
    steps: np.ndarray[Any, Any],
    names: Sequence[str],
    samples: Mapping[str, Column],
    applied: Norms,
    raw: Norms,
) -> None:
    """Rows of `tensors`, one per step and name; `samples` are further columns of a block of one step."""
    count = len(steps)
    if not names:
        return
    columns: dict[str, Any] = {
        "optimizer": np.full(count * len(names), optimizer),
        "step": np.repeat(steps, len(names)),
        "tensor": np.tile(outbox.numbers("tensor", names), count),
        "grad_norm": applied.reshape(-1),
    }
    if raw is not applied:
        columns["grad_norm_raw"] = raw.reshape(-1)
    outbox.rows("tensors", {**columns, **samples})


def total_norm(norms: Norms) -> Norms:
    """2-norm over the tensors, scaled so that norms up to 1e300 do not overflow."""
    if not norms.shape[1]:
        return np.zeros(len(norms))
    largest = norms.max(1)
    safe = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)
    return np.asarray(safe * np.sqrt(np.square(norms / safe[:, None]).sum(1)))
