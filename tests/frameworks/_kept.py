"""A session that keeps what a framework's watcher sends, and reads it back as rows."""

from __future__ import annotations

import time
import traceback
from collections import defaultdict
from typing import Any

import numpy as np

Row = dict[str, Any]


class KeptChannel:
    """Stands where the line to the recorder is; keeps the messages."""

    is_open = True

    def __init__(self) -> None:
        self.messages: list[tuple[dict[str, Any], bytes]] = []

    def send(self, header: dict[str, Any], *payload: bytes) -> None:
        self.messages.append((header, b"".join(payload)))


class KeptSession:
    """What `trimtab.launch` gives an adapter, without a process to watch."""

    def __init__(self, directory: str | None) -> None:
        self.channel: Any = KeptChannel()
        self.started = time.monotonic()
        self.directory = directory
        self.reports_itself = False
        self.keeps_batch = False
        self.policies: tuple[str, ...] = ()
        self.replay: dict[str, Any] | None = None
        self.position: Any = lambda: (-1, -1)
        self.facts: dict[str, Any] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.metrics: list[Row] = []
        self.errors: list[str] = []
        self._at_exit: list[Any] = []

    def on_exit(self, callback: Any) -> None:
        self._at_exit.append(callback)

    def on_fork(self, callback: Any) -> None:
        self._in_child = callback

    def log(self, name: str, value: float, source: str = "log", step: int | None = None) -> None:
        optimizer, newest = self.position()
        at = {"optimizer": optimizer, "step": newest if step is None else step}
        self.metrics.append({"name": name, "value": value, "source": source} | at)

    def describe(self, **data: Any) -> None:
        self.facts |= data

    def event(self, kind: str, **data: Any) -> None:
        self.events.append((kind, data))

    def error(self, where: str) -> None:
        self.errors.append(f"{where}\n{traceback.format_exc()}")

    def finish(self) -> None:
        for callback in self._at_exit:
            callback()

    def table(self, name: str) -> list[Row]:
        """All rows of a table in the order sent; what is null is absent."""
        names: dict[str, list[str]] = defaultdict(list)
        rows: list[Row] = []
        for header, payload in self.channel.messages:
            if header["type"] == "names":
                assert header["first"] == len(names[header["column"]])
                names[header["column"]] += header["names"]
            elif header["type"] == "rows" and header["table"] == name:
                rows += decoded(header, payload, names)
        return rows


def decoded(header: dict[str, Any], payload: bytes, names: dict[str, list[str]]) -> list[Row]:
    count, at = header["rows"], 0
    columns: dict[str, list[Any]] = {name: list(values) for name, values in header["values"].items()}
    for name, dtype in header["columns"]:
        size = np.dtype(dtype).itemsize * count
        array = np.frombuffer(payload[at : at + size], dtype)
        at += size
        columns[name] = [names[name][i] for i in array] if name in names else array.tolist()
    assert at == len(payload)
    assert all(len(column) == count for column in columns.values())
    known = {name: columns.pop(f"{name}?", [True] * count) for name in list(columns) if not name.endswith("?")}
    return [{name: column[i] for name, column in columns.items() if known[name][i]} for i in range(count)]
