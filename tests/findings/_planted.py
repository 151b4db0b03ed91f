"""Planted histories: records made of arrays, with exactly the troubles that a test puts in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trimtab.findings import Finding, Verdict
from trimtab.runs._columns import no_rows, null_of
from trimtab.vitals import TABLES


@dataclass
class PlantedSeries:
    """One optimizer of one process, with the attributes of `trimtab.runs.Series`."""

    process: int
    optimizer: int
    steps: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]
    info: dict[str, Any]
    modules_at: Mapping[int, dict[str, np.ndarray]] = field(default_factory=dict)
    tensors_at: Mapping[int, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def sampled_steps(self) -> np.ndarray:
        return self.steps["step"][self.steps["sampled"]]

    def modules(self, step: int) -> dict[str, np.ndarray]:
        return self.modules_at.get(step, no_rows(TABLES["modules"]))

    def tensors(self, step: int) -> dict[str, np.ndarray]:
        return self.tensors_at.get(step, no_rows(TABLES["tensors"]))


@dataclass
class PlantedRecord:
    """A run, with the attributes of `trimtab.runs.Record`."""

    planted: Sequence[PlantedSeries]
    meta: dict[str, Any]
    rows: dict[str, dict[str, np.ndarray]]
    name: str = "2026-11-24-153012-train"
    path: Path | None = None
    damage: list[str] = field(default_factory=list)

    def series(self) -> list[PlantedSeries]:
        return list(self.planted)

    def events(self) -> dict[str, np.ndarray]:
        return self.rows["events"]

    def metrics(self) -> dict[str, np.ndarray]:
        return self.rows["metrics"]

    def guard(self) -> dict[str, np.ndarray]:
        return self.rows.get("guard", table("guard", 0))


def table(name: str, rows: int, /, **columns: Any) -> dict[str, np.ndarray]:
    """A table of which only `columns` were measured; scalars stand for every row."""
    found = {}
    for quantity in TABLES[name].quantities:
        dtype = object if quantity.dtype == "str" else np.dtype(quantity.dtype)
        value = columns.pop(quantity.name, null_of(quantity.dtype))
        found[quantity.name] = np.array(np.broadcast_to(np.asarray(value, dtype=dtype), (rows,)))
    assert not columns, f"no such columns: {list(columns)}"
    return found


def series(
    loss: Sequence[float] | np.ndarray | None,
    *,
    chance: float | None = 2.3,
    process: int = 0,
    optimizer: int = 0,
    start: float = 0.0,
    every: float = 0.01,
    modules: dict[str, np.ndarray] | None = None,
    modules_at: Mapping[int, dict[str, np.ndarray]] | None = None,
    tensors: Mapping[int, dict[str, np.ndarray]] | None = None,
    info: dict[str, Any] | None = None,
    losses: dict[str, Any] | None = None,
    steps: int | None = None,
    **columns: Any,
) -> PlantedSeries:
    """Steps with this loss (None: never seen). Anything else of the table by name; gradient norm 1 unless told.

    `modules` are the rows of step 0, `modules_at` those of any sampled step (every 16th).
    """
    n = len(loss) if loss is not None else int(steps or 0)
    step = np.arange(n)
    values = {
        "process": process, "optimizer": optimizer, "step": step, "time": start + every * step,
        "loss": np.nan if loss is None else np.asarray(loss, dtype=float), "backwards": 0 if loss is None else 1,
        "lr": 0.1, "lr_max": 0.1, "grad_norm": 1.0, "nonfinite": 0, "evaluations": 0, "skipped": False,
        "loss_scale": 1.0, "sampled": step % 16 == 0, "watch_seconds": 1e-4,
    }  # fmt: skip
    values |= columns
    values.setdefault("grad_norm_raw", values["grad_norm"])
    sampled = np.flatnonzero(step % 16 == 0)
    known = {"kind": "cross_entropy" if chance is not None else "unknown", "rows": 32, **(losses or {})}
    if chance is not None:
        known["chance"] = chance
    return PlantedSeries(
        process,
        optimizer,
        table("steps", n, **values),
        table("losses", len(sampled), step=sampled, process=process, optimizer=optimizer, **known),
        {"class": "torch.optim.sgd.SGD", "model": "Net", "tensors": [], **(info or {})},
        modules_at or ({0: modules} if modules is not None else {}),
        tensors or {},
    )


def record(
    *planted: PlantedSeries,
    events: Sequence[dict[str, Any]] = (),
    metrics: Mapping[str, tuple[Sequence[float], Sequence[float] | np.ndarray]] | None = None,
    processes: int | None = None,
    **meta: Any,
) -> PlantedRecord:
    """A run of these series. `events`: {"kind", "step", "data", ...}; `processes`: number of ranks; `metrics`: name ->
    (times, values)."""
    rows = table(
        "events",
        len(events),
        process=[e.get("process", 0) for e in events],
        optimizer=[e.get("optimizer", 0) for e in events],
        step=[e.get("step", -1) for e in events],
        time=[e.get("time", 1.0) for e in events],
        kind=[e["kind"] for e in events],
        data=[json.dumps(e.get("data", {})) for e in events],
    )
    entries = [{"index": i, "rank": i if processes else None} for i in range(processes or 1)]
    meta = {"schema": 1, "status": 0, "ended": "2026-11-24T15:31:12+00:00", "processes": entries, **meta}
    told = [
        (name, t, v) for name, (times, values) in (metrics or {}).items() for t, v in zip(times, values, strict=True)
    ]
    reported = table(
        "metrics",
        len(told),
        process=0,
        optimizer=0,
        step=-1,
        time=[t for _, t, _ in told],
        name=[name for name, _, _ in told],
        value=[v for _, _, v in told],
        source="log",
    )
    return PlantedRecord(planted, meta, {"events": rows, "metrics": reported})


def at_samples(n: int, rows: dict[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """The same rows at every sampled step of a run of `n` steps."""
    return dict.fromkeys(range(0, n, 16), rows)


def found(verdict: Verdict, kind: str) -> Finding | None:
    """The finding of this kind, wherever in the verdict it is."""
    roots = [f for part in (verdict, *verdict.parts) for root in part.findings for f in (root, *root.consequences)]
    return next((finding for finding in roots if finding.kind == kind), None)


def layers(*shares: float, column: str = "out_dead", kind: str = "ReLU") -> dict[str, np.ndarray]:
    """Module rows of a chain Linear, activation, Linear, activation, ..., Linear: a share per activation.

    A column that begins with "in" stands for activations that are functions, seen at the next layer's input.
    """
    rows: list[dict[str, Any]] = []
    for i in range(len(shares) + 1):
        row: dict[str, Any] = {"module": f"layers.{i}", "kind": "Linear", "weighted": True, "in_after": None}
        if column.startswith("in") and i:
            row |= {column: shares[i - 1], "in_after": kind.lower()}
        rows.append(row)
        if column.startswith("out") and i < len(shares):
            rows.append({"module": f"act.{i}", "kind": kind, "weighted": False, "in_after": None, column: shares[i]})
    names = ("module", "kind", "weighted", "in_after", column)
    columns = {name: [row.get(name, np.nan) for row in rows] for name in names}
    return table("modules", len(rows), call=np.arange(len(rows)), elements=4096, **columns)


def over_depth(
    forward: Sequence[float],
    backward: Sequence[float],
    *,
    kinds: str = "Linear",
    extra: Sequence[str] = (),
    activation: str | None = None,
) -> dict[str, np.ndarray]:
    """Module rows of a chain of weighted layers and a head: log10 of the scales, in forward order, without the head.

    `activation` follows every layer but the head: the class of a module, "" for none, None for a function, which
    has no row. `extra` modules come last.
    """
    rows: list[tuple[str, str, bool, float, float, float]] = []
    for i, (out, grad) in enumerate(zip([*forward, forward[-1]], [*backward, backward[-1]], strict=True)):
        before = 10.0 ** float(forward[max(i - 1, 0)])
        enters = before if activation == "" else 0.7 * before
        name = f"layers.{i}" if i < len(forward) else "head"
        rows.append((name, kinds, True, enters, 10.0 ** float(out), 10.0 ** float(grad)))
        if activation and i < len(forward):
            rows.append((f"activations.{i}", activation, False, 10.0 ** float(out), 1.0, 1.0))
    rows += [(f"extra.{i}", kind, False, 1.0, 1.0, 1.0) for i, kind in enumerate(extra)]
    columns = dict(
        zip(("module", "kind", "weighted", "in_rms", "out_rms", "grad_rms"), zip(*rows, strict=True), strict=True)
    )
    return table("modules", len(rows), call=np.arange(len(rows)), elements=32 * 128, **columns)


def falling(n: int, *, first: float = 2.4, last: float = 0.1, noise: float = 0.2, seed: int = 0) -> np.ndarray:
    """A healthy curve: exponential decay with lognormal noise of a minibatch's size."""
    curve = last + (first - last) * np.exp(-5 * np.arange(n) / n)
    return curve * np.exp(noise * np.random.default_rng(seed).standard_normal(n))


def flat(n: int, *, level: float = 2.3, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    return level * np.exp(noise * np.random.default_rng(seed).standard_normal(n))
