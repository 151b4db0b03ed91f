"""Sends blocks of rows to the recorder: columns as raw bytes, repeated strings as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from trimtab.runs import Channel
from trimtab.vitals import TABLES

Column = Sequence[Any] | np.ndarray[Any, Any]


class Session(Protocol):
    """What a framework's watcher needs of the process's session (`trimtab.launch`)."""

    channel: Channel
    started: float
    directory: str | None
    position: Any
    #: A trainer logs its own validation losses: ours would say the same again.
    reports_itself: bool
    #: `--keep-batch` was given.
    keeps_batch: bool
    #: What guards the training (`--with`, `--guard`), in order, as it is typed.
    policies: tuple[str, ...]
    #: What `trimtab show --replay` asks for; None in a training that is watched.
    replay: dict[str, Any] | None

    def on_exit(self, callback: Any) -> None: ...
    def on_fork(self, callback: Any) -> None: ...
    def log(self, name: str, value: float, source: str = "log", step: int | None = None) -> None: ...
    def describe(self, **data: Any) -> None: ...
    def event(self, kind: str, **data: Any) -> None: ...
    def error(self, where: str) -> None: ...


class Outbox:
    """Rows of one process on their way to the recorder."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._channel: Channel | None = None
        self._numbers: dict[str, dict[str, int]] = {}

    def numbers(self, column: str, names: Sequence[str]) -> np.ndarray[Any, Any]:
        """The numbers that stand for `names` in a string column; new names are announced first."""
        self._follow_channel()
        known = self._numbers.setdefault(column, {})
        first = len(known)
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            known.update({name: first + i for i, name in enumerate(new)})
            self._session.channel.send({"type": "names", "column": column, "first": first, "names": new})
        return np.fromiter((known[name] for name in names), dtype="<i4", count=len(names))

    def rows(self, table: str, columns: Mapping[str, Column]) -> None:
        """Send one block; a quantity that is left out is null in all its rows, a None in a list in one."""
        self._follow_channel()
        count = len(next(iter(columns.values())))
        values: dict[str, list[Any]] = {}
        layout: list[tuple[str, str]] = []
        payload: list[bytes] = []

        def add(name: str, column: Column, dtype: str) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # a norm of 1e40 is inf in float32
                array = np.ascontiguousarray(column, dtype=dtype)
            layout.append((name, array.dtype.str))
            payload.append(array.tobytes())

        for name, column in columns.items():
            dtype = TABLES[table][name].dtype
            if isinstance(column, np.ndarray):
                add(name, column, "<i4" if dtype == "str" else dtype)
            elif dtype == "str":
                values[name] = list(column)
            elif any(value is None for value in column):
                add(f"{name}?", [value is not None for value in column], "|b1")
                add(name, [0 if value is None else value for value in column], dtype)
            else:
                add(name, column, dtype)
        header = {"type": "rows", "table": table, "rows": count, "columns": layout, "values": values}
        self._session.channel.send(header, *payload)

    def _follow_channel(self) -> None:
        """A forked child speaks through a channel of its own, to which no name is known yet."""
        if self._session.channel is not self._channel:
            self._channel = self._session.channel
            self._numbers.clear()
