"""What is read off the outputs and targets that a loss function was given."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor

from ._scale import thin

MAX_ENTRIES = 1 << 20
# Of so many targets are the different ones counted, which takes a sort.
MAX_COUNTED = 65_536
# Where a script may have broadcast before the compiled function sees it.
_BROADCASTING = frozenset(("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"))


def output_facts(kind: str, outputs: Tensor) -> dict[str, Any]:
    if not outputs.numel() or not outputs.is_floating_point():
        return {}
    rows = as_rows(outputs).float()
    facts = {
        "output_min": float(rows.min()),
        "output_max": float(rows.max()),
        "output_mean": float(rows.mean()),
        "output_std": float(rows.std(correction=0)),
        "output_zeros": 1 - int(torch.count_nonzero(rows)) / rows.numel(),
    }
    if len(rows) > 1:
        facts["output_spread"] = float(rows.var(0, correction=0).mean().sqrt())
    if kind in ("cross_entropy", "nll") and rows.shape[1] > 1:
        probabilities = (rows >= 0).all(1) & ((rows.sum(1) - 1).abs() < 1e-3)
        facts["rows_sum_to_one"] = float(probabilities.float().mean())
    return facts


def value_facts(kind: str, outputs: Tensor, targets: Tensor) -> dict[str, Any]:
    """Of targets that are no class indices."""
    rows = as_rows(targets)
    few = _spread_out(rows.reshape(-1), MAX_COUNTED)
    facts: dict[str, Any] = {
        "target_values": torch.unique(few).numel(),
        "targets_whole": bool(((rows == rows.round()) & rows.isfinite()).all()) if rows.is_floating_point() else True,
    }
    if rows.shape[1] > 1:
        one_hot = ((rows == 1).sum(1) == 1) & ((rows == 0).sum(1) == rows.shape[1] - 1)
        facts["targets_one_hot"] = float(one_hot.float().mean())
    if outputs.shape == targets.shape and outputs.is_floating_point():
        given = as_rows(outputs)
        facts |= {"accuracy": _agreement(kind, given, rows), "correlation": _correlation(given, rows)}
    return {name: fact for name, fact in facts.items() if fact is not None}


def label_accuracy(outputs: Tensor, labels: Tensor) -> float | None:
    """Share of the rows with a valid label whose largest output is at it."""
    if outputs.dim() == 1:
        outputs, labels = outputs[None], labels.reshape(1)
    classes = outputs.shape[1]
    if labels.shape != outputs.shape[:1] + outputs.shape[2:] or not classes:
        return None
    valid = (labels >= 0) & (labels < classes)
    count = int(valid.sum())
    return int(((outputs.argmax(1) == labels) & valid).sum()) / count if count else None


def broadcast_against_each_other(outputs: Tensor, targets: Tensor) -> bool:
    """Outputs and targets were both stretched, as (N, 1) and (N,) are to (N, N).

    `torch.nn.functional` stretches before it calls the compiled function: the shapes that the script gave are found
    in its frame.
    """
    a, b = _shapes_given(outputs, targets)
    if a == b:
        return False
    both: torch.Size = torch.broadcast_shapes(a, b)  # type: ignore[no-untyped-call]
    return both.numel() > max(a.numel(), b.numel())


def as_rows(x: Tensor) -> Tensor:
    """Shape (rows, features), features those of axis 1: evenly spaced rows, so many that they hold at most about
    MAX_ENTRIES entries."""
    if x.dim() < 2:
        x = x.reshape(-1, 1)
    few = x[thin(x.shape, 1, MAX_ENTRIES)]
    return few.movedim(1, -1).reshape(-1, x.shape[1])


def values_of(targets: Tensor) -> Tensor:
    """The targets one after the other, at most about MAX_ENTRIES of them."""
    return as_rows(targets).reshape(-1).float()


def _spread_out(values: Tensor, limit: int) -> Tensor:
    """At most `limit` of `values`, evenly spaced."""
    return values[:: max(1, math.ceil(values.numel() / limit))]


def _agreement(kind: str, outputs: Tensor, targets: Tensor) -> float | None:
    if kind in ("bce", "bce_logits"):
        middle = 0.5 if kind == "bce" else 0.0
        return float(((outputs >= middle) == (targets >= 0.5)).float().mean())
    if kind in ("cross_entropy", "nll") and outputs.shape[1] > 1:
        return float((outputs.argmax(1) == targets.argmax(1)).float().mean())
    return None


def _correlation(outputs: Tensor, targets: Tensor) -> float | None:
    """Pearson's, of all entries; None where one side is constant or not finite."""
    x, y = outputs.reshape(-1).double(), targets.reshape(-1).double()
    x, y = x - x[0], y - y[0]  # constant ones become exactly 0
    x, y = x - x.mean(), y - y.mean()
    size = float(torch.linalg.vector_norm(x)) * float(torch.linalg.vector_norm(y))
    if not size or not math.isfinite(size):
        return None
    return max(-1.0, min(1.0, float(x @ y) / size))


def _shapes_given(outputs: Tensor, targets: Tensor) -> tuple[torch.Size, torch.Size]:
    frame = sys._getframe()
    for _ in range(10):
        if frame.f_code.co_name in _BROADCASTING and frame.f_globals.get("__name__") == "torch.nn.functional":
            return frame.f_locals["input"].shape, frame.f_locals["target"].shape
        if frame.f_back is None:
            break
        frame = frame.f_back
    return outputs.shape, targets.shape
