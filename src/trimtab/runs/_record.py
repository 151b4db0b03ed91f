"""Reading a run: what judgements and reports see of it, on disk or still under way."""

from __future__ import annotations

import difflib
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .._errors import NoSuchRunError, TrimtabError
from ..vitals import TABLES
from ._columns import Array, Columns, no_rows, rows_where, sorted_by_step
from ._directory import RUNS, is_run, tidy
from ._disk import Disk
from ._listing import list_runs
from ._metadata import SCHEMA, read_json


class Source(Protocol):
    """Where the rows of a record come from."""

    damage: list[str]

    def whole(self, table: str) -> Columns:
        """Every row of steps, losses, metrics or events."""

    def at(self, table: str, process: int, optimizer: int, step: int) -> Columns:
        """The rows of tensors or modules of one step."""


class Series:
    """The steps of one optimizer of one process."""

    def __init__(self, record: Record, process: int, optimizer: int) -> None:
        self._record = record
        self.process = process
        self.optimizer = optimizer

    def __repr__(self) -> str:
        return f"Series(process={self.process}, optimizer={self.optimizer}, steps={len(self.steps['step'])})"

    @cached_property
    def steps(self) -> Columns:
        """All rows of `steps`, by step."""
        return self._own("steps")

    @cached_property
    def losses(self) -> Columns:
        """All rows of `losses`, by step."""
        return self._own("losses")

    @property
    def sampled_steps(self) -> Array:
        """Steps at which the dearer quantities were measured, shape (N,)."""
        steps: Array = self.steps["step"][self.steps["sampled"]]
        return steps

    def tensors(self, step: int) -> Columns:
        """Rows of `tensors` of one step, in the order in which they came; none if they are not kept."""
        return self._record.source.at("tensors", self.process, self.optimizer, step)

    def modules(self, step: int) -> Columns:
        """Rows of `modules` of one step, in order of the forward pass; none if it was not sampled."""
        return self._record.source.at("modules", self.process, self.optimizer, step)

    @property
    def info(self) -> dict[str, Any]:
        """What the process said of this optimizer: class, groups, tensors, model. Empty if nothing."""
        optimizers = self._record.process(self.process).get("optimizers", ())
        if isinstance(optimizers, dict):
            found = optimizers.get(str(self.optimizer))
        else:
            known = isinstance(optimizers, list) and 0 <= self.optimizer < len(optimizers)
            found = optimizers[self.optimizer] if known else None
        return found if isinstance(found, dict) else {}

    def _own(self, table: str) -> Columns:
        rows = self._record.table(table)
        mask = (rows["process"] == self.process) & (rows["optimizer"] == self.optimizer)
        return sorted_by_step(rows if mask.all() else rows_where(rows, mask))


class Record:
    """Everything recorded of one run, at the moment at which it was opened.

    `meta` is the content of run.json, `path` the directory (None for a run without one) and `damage` what
    could not be read, a sentence each.
    """

    def __init__(self, source: Source, meta: dict[str, Any], path: Path | None) -> None:
        self.source = source
        self.meta = meta
        self.path = path
        self._tables: dict[str, Columns] = {}
        self._series: list[Series] | None = None

    @classmethod
    def open(cls, path_or_name: str | Path, *, root: Path | None = None) -> Record:
        """Open a run by its path, by its name under `.trimtab` (or `root`), or the newest one as "latest".

        Raises NoSuchRunError if there is none, TrimtabError if a later trimtab wrote it.
        """
        path = _find(path_or_name, root or Path(RUNS))
        disk = Disk(path)
        meta = read_json(path / "run.json")
        if not meta:
            disk.damage.append("run.json: missing or unreadable")
        schema = meta.get("schema", SCHEMA)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise TrimtabError(
                f"{path} was written by trimtab {meta.get('trimtab', 'of a later version')!s:.40} "
                f"(schema {schema!s:.20}); this trimtab reads schema {SCHEMA}: upgrade trimtab to open it"
            )
        tidy(path)
        return cls(disk, meta, path)

    @property
    def name(self) -> str:
        return self.path.name if self.path is not None else str(self.meta.get("name", "run"))

    @property
    def damage(self) -> list[str]:
        return self.source.damage

    @property
    def ended(self) -> bool:
        """False for a run under way, and for one whose recorder was killed."""
        return bool(self.meta.get("ended"))

    def series(self) -> list[Series]:
        """One per process and optimizer that took a step, in that order."""
        if self._series is None:
            steps = self.table("steps")
            # Both are 16 bits wide: one number sorts 50 times faster than a pair.
            keys = np.unique(steps["process"].astype(np.int32) << 16 | steps["optimizer"].astype(np.uint16))
            self._series = [Series(self, int(key >> 16), int(key & 0xFFFF)) for key in keys]
        return self._series

    def process(self, index: int) -> dict[str, Any]:
        """What run.json says of one process; empty if nothing."""
        processes = self.meta.get("processes", ())
        known = isinstance(processes, list) and 0 <= index < len(processes)
        found = processes[index] if known else None
        return found if isinstance(found, dict) else {}

    def events(self) -> Columns:
        """All rows of `events`."""
        return self.table("events")

    def metrics(self) -> Columns:
        """All rows of `metrics`."""
        return self.table("metrics")

    def guard(self) -> Columns:
        """All rows of `guard`."""
        return self.table("guard")

    def table(self, name: str) -> Columns:
        """All rows of `steps`, `losses`, `guard`, `metrics` or `events`, read once."""
        if name not in self._tables:
            self._tables[name] = self.source.whole(name) if name in TABLES else no_rows(TABLES[name])
        return self._tables[name]


def _find(path_or_name: str | Path, root: Path) -> Path:
    path = Path(path_or_name)
    if is_run(path):
        return path
    text = str(path_or_name)
    names = [run.name for run in list_runs(root)] if os.path.isdir(root) else []
    if text == "latest" and names:
        return root / names[-1]
    if text in names:
        return root / text
    raise NoSuchRunError(_no_such_run(text, path, names, root))


def _no_such_run(text: str, path: Path, names: list[str], root: Path) -> str:
    what = "is a directory, but no run of trimtab" if os.path.isdir(path) else "is no run"
    if not names:
        return f"{text[:80]!r} {what}, and there are no runs under {root}: `trimtab run train.py` makes one"
    near = difflib.get_close_matches(text, names, 3, 0.5) or [n for n in names if text and text in n][-3:]
    if near:
        return f"{text!r} {what}; did you mean {' or '.join(near)}?"
    return f"{text!r} {what}; `trimtab show` lists the {len(names)} runs under {root}"
