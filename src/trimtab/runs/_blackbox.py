"""The black box of a run: what was kept of the step that failed, and what its numbers look like."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import TrimtabError
from ._metadata import read_json
from ._safetensors import read_tensors

FAR = 10.0
"""A row of a batch is far from the others if its largest |x| is so many times their median."""
LEAST_ROWS = 8
MAX_ROWS_NAMED = 8

Tensors = dict[str, np.ndarray[Any, Any]]


class NoBlackBoxError(TrimtabError):
    """The run has no black box: nothing fatal was seen while it ran."""


@dataclass(frozen=True)
class TensorSummary:
    """A tensor in numbers; `least`, `largest` and `rms` are of its finite entries, None where there are none.

    `nonfinite_rows` and `far_rows` are of batches: places along the first axis.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nonfinite: int
    least: float | None
    largest: float | None
    rms: float | None
    nonfinite_rows: list[int] = field(default_factory=list)
    far_rows: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}


class BlackBox:
    """`blackbox/` of a run. Opening it runs no code and unpickles nothing."""

    FILES = ("weights", "optimizer", "failed", "failed_optimizer", "batch")

    def __init__(self, run: Path) -> None:
        self.path = run / "blackbox"
        self.event = _checked(read_json(self.path / "event.json"))
        if not self.event:
            raise NoBlackBoxError(
                f"{run} has no black box: none is written unless a gradient becomes non-finite, the loss grows to "
                "1,000 times the first, or an exception ends the training"
            )
        self.damage: list[str] = []

    def has(self, part: str) -> bool:
        return (self.path / f"{part}.safetensors").is_file()

    @property
    def has_batch(self) -> bool:
        return self.has("batch")

    @cached_property
    def summaries(self) -> dict[str, list[TensorSummary]]:
        """Every tensor that is kept, by part."""
        return {part: self._summaries(part) for part in self.FILES if self.has(part)}

    def _summaries(self, part: str) -> list[TensorSummary]:
        found = []
        try:
            for name, values in read_tensors(self.path / f"{part}.safetensors"):
                if not name.startswith("random_state/"):
                    found.append(summary_of(name, values, rows=part == "batch"))
        except (OSError, ValueError, MemoryError) as error:
            self.damage.append(f"blackbox/{part}.safetensors: {error}")
        return found


def _checked(event: dict[str, Any]) -> dict[str, Any]:
    """The event without the fields that are not what we write: the run may be a stranger's."""
    wanted: dict[str, Any] = {
        "snapshot_step": int, "failed_step": int, "age_steps": int, "kind": str, "type": str, "loss": (int, float),
        "tensors": list, "forward": dict, "batch": dict, "loss_finite": bool, "weights_nonfinite": list,
        "backward_pass": int, "scaled": bool,
    }  # fmt: skip
    event = {name: event[name] for name, kind in wanted.items() if name in event and isinstance(event[name], kind)}
    for name in ("tensors", "weights_nonfinite"):
        if name in event:
            event[name] = [str(item) for item in event[name]]
    return event


def summary_of(name: str, values: np.ndarray[Any, Any], *, rows: bool = False) -> TensorSummary:
    """The numbers of one tensor; with `rows`, which rows are not finite, and which far from the others."""
    finite = np.isfinite(values)
    good = values[finite].astype("f8")
    with np.errstate(over="ignore"):
        rms = float(np.sqrt(np.mean(np.square(good)))) if good.size else None
    bad_rows, far_rows = _rows_of_note(values, finite) if rows else ([], [])
    return TensorSummary(
        name=name,
        dtype=str(values.dtype),
        shape=values.shape,
        nonfinite=int(values.size - np.count_nonzero(finite)),
        least=float(good.min()) if good.size else None,
        largest=float(good.max()) if good.size else None,
        rms=rms,
        nonfinite_rows=bad_rows,
        far_rows=far_rows,
    )


def _rows_of_note(values: np.ndarray[Any, Any], finite: np.ndarray[Any, Any]) -> tuple[list[int], list[int]]:
    if values.ndim == 0 or not values.size or values.dtype.kind != "f":
        return [], []
    count = values.shape[0]
    bad = np.flatnonzero(~finite.reshape(count, -1).all(1))
    size = np.where(finite, np.abs(values), 0).reshape(count, -1).max(1)
    usual = float(np.median(size))
    far = np.flatnonzero(size > FAR * usual) if count >= LEAST_ROWS and usual > 0 else np.array([], int)
    return bad[:MAX_ROWS_NAMED].tolist(), far[:MAX_ROWS_NAMED].tolist()
