"""Records in which one cause is planted, and what is found in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.findings._planted import PlantedRecord, falling, flat, record, series, table
from trimtab.findings import History, parts
from trimtab.findings.causes import KNOWN, Case, Clue

N = 200  # steps of a run unless told
SAMPLED = range(0, N, 16)
NAMES = ("layers.0.weight", "layers.1.weight", "layers.2.weight")


def clue(name: str, planted: PlantedRecord, trouble: str = "stalled-loss", step: int = 0) -> Clue | None:
    """What the cause `name` makes of a trouble that begins at `step` and lasts to the end."""
    (tracks,) = parts(planted)
    history = History(planted, tracks)
    return KNOWN[name].look(Case(trouble, history, tracks[0], step, tracks[0].last_step))


def run(
    loss: Sequence[float] | np.ndarray | None = None,
    *,
    events: Sequence[dict[str, Any]] = (),
    metrics: Mapping[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
    **columns: Any,
) -> PlantedRecord:
    """One series of `N` steps at chance, or with this loss; anything else as `series` takes it."""
    values = flat(N) if loss is None else np.asarray(loss, dtype=float)
    return record(series(values, **columns), events=events, metrics=metrics, **(meta or {}))


def chain(
    kinds: Sequence[str] = ("Linear", "Linear", "Linear"), *, rows: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Module rows of a chain of weighted layers; `rows` are columns, a value per layer or one for all."""
    names = [f"layers.{i}" for i in range(len(kinds))]
    known: dict[str, Any] = {"weighted": True, "in_rms": 1.0, "in_max": 4.0, "in_spread": 1.0, "in_after": None}
    known |= {"out_rms": 1.0, **(rows or {})}
    count = len(kinds)
    return table("modules", count, call=np.arange(count), module=names, kind=list(kinds), elements=4096, **known)


def always(rows: dict[str, np.ndarray], steps: Sequence[int] | range = SAMPLED) -> dict[int, dict[str, np.ndarray]]:
    """The same rows at every sampled step."""
    return dict.fromkeys(steps, rows)


def weights(ratio: float | Sequence[float] = 1e-3, **columns: Any) -> dict[int, dict[str, np.ndarray]]:
    """Tensor rows of every sampled step, with |update| / |weight| the same at all, or one value per step."""
    ratios = np.broadcast_to(np.asarray(ratio, dtype=float), (len(SAMPLED),))
    rows: dict[str, Any] = {"tensor": list(NAMES), "weight_norm": 1.0, **columns}
    return {step: table("tensors", len(NAMES), update_norm=float(ratios[i]), **rows) for i, step in enumerate(SAMPLED)}


def shapes(*, dtype: str = "float32", **more: Any) -> dict[str, Any]:
    """The info of an optimizer of three square matrices."""
    return {"tensors": [{"name": name, "shape": [64, 64], "dtype": dtype} for name in NAMES], **more}


def optimizer(name: str, **group: Any) -> dict[str, Any]:
    return {"class": f"torch.optim.{name.lower()}.{name}", "groups": [group]}


def trained() -> np.ndarray:
    return falling(N, noise=0.05)


def spiked(row: int, height: float, length: int = 1) -> np.ndarray:
    """A loss of about 1 with a spike."""
    loss = flat(N, level=1.0)
    loss[row : row + length] = height
    return loss


def jumping(row: int, factor: float = 100.0) -> np.ndarray:
    """A gradient norm of about 1 that jumps at one step."""
    norms = flat(N, level=1.0, seed=1)
    norms[row] *= factor
    return norms
