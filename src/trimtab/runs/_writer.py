"""Writes a run while it happens: rows in memory, in parts on disk, and what is known of it in run.json.

Standard library only until the first rows come: to watch a script that never trains costs next to nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._git import is_dirty
from ._metadata import installed, new_meta, now, write_json
from ._redact import Redactor

if TYPE_CHECKING:
    from ._record import Record
    from ._store import Store

MAX_BYTES = 1 << 30
META_SECONDS = 1.0
MAX_PROCESSES = 4096


class RunWriter:
    """The one writer of a run directory.

    `directory` is made if it does not exist; None keeps the run in memory only. `meta` is what
    `describe_run` gave. No trouble of the disk is raised: the first is told to `on_trouble` in one
    sentence, and writing is tried again later; what did not fit in memory meanwhile is counted in
    run.json's `dropped`.
    """

    def __init__(
        self,
        directory: Path | None,
        meta: dict[str, Any],
        *,
        max_bytes: int = MAX_BYTES,
        on_trouble: Callable[[str], None],
        redactor: Redactor | None = None,
    ) -> None:
        self.directory = directory
        self.meta = new_meta(meta)
        self._max_bytes = max_bytes
        self._on_trouble = on_trouble
        self._redactor = redactor or Redactor(os.environ, sys.argv)
        self._told = False
        self._closed = False
        self._meta_due = True
        self._meta_written = -META_SECONDS
        self._store_made: Store | None = None
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                self.trouble(f"cannot make {directory}: {error.strerror}; this run is kept in memory only")
                self.directory = None
        self._write_meta()

    @property
    def has_rows(self) -> bool:
        """Whether any rows have come: without, there is nothing to judge and nothing was loaded for it."""
        return self._store_made is not None

    def process(self, hello: dict[str, Any]) -> int:
        """Register a process; returns its index: the rank, if it has one that is free, else the next free."""
        processes: list[dict[str, Any]] = self.meta["processes"]
        rank = hello.get("rank")
        index = len(processes)
        if isinstance(rank, int) and 0 <= rank < MAX_PROCESSES and (rank >= index or not processes[rank]):
            index = rank
        elif not isinstance(rank, int):
            index = next((i for i, process in enumerate(processes) if not process), index)
        processes.extend({} for _ in range(index + 1 - len(processes)))
        shown = {key: value for key, value in hello.items() if key != "type" and value is not None}
        if isinstance(shown.get("argv"), list):
            shown["argv"] = self._redactor.arguments(shown["argv"])
        processes[index] = {"index": index, **self._redactor.tree(shown)}
        self._meta_due = True
        return index

    def names(self, process: int, column: str, first: int, names: Sequence[str]) -> None:
        """Strings to which this process's rows refer by number, from `first` on."""
        shown = [self._redactor.text(str(name)) for name in names]
        self._guarded(lambda: self._store.names(process, column, first, shown))

    def rows(self, process: int, header: dict[str, Any], payload: bytes) -> None:
        """Take one `rows` message. One that does not fit its table is dropped and counted."""
        self._guarded(lambda: self._store.rows(process, header, payload))

    def describe(self, process: int, data: dict[str, Any]) -> None:
        """Merge facts into run.json's entry of this process: objects into objects, anything else replaces."""
        if 0 <= process < len(self.meta["processes"]):
            _merge(self.meta["processes"][process], self._redactor.tree(data))
            self._meta_due = True

    def note(self, **facts: Any) -> None:
        """Set fields of run.json."""
        self.meta.update(self._redactor.tree(facts))
        self._meta_due = True

    def flush(self) -> None:
        """Put on disk what has come since the last time."""
        if self._store_made is not None:
            self._guarded(self._store_made.flush)
            self._look_around()
        if self._meta_due and time.monotonic() - self._meta_written >= META_SECONDS:
            self._write_meta()

    def close(self, **facts: Any) -> None:
        """Write everything, merge the parts, and note in run.json that and how the run ended."""
        if self._closed:
            return
        self._closed = True
        if self._store_made is not None:
            self._guarded(self._store_made.close)
        self._look_around()
        self.note(ended=now(), **facts)
        self._write_meta()

    def record(self) -> Record:
        """What has been recorded so far; its arrays do not change when more comes."""
        from ._record import Record

        return Record(self._store.source(), self.meta, self.directory)

    def trouble(self, sentence: str) -> None:
        """Say once what is wrong."""
        if not self._told:
            self._told = True
            self._on_trouble(sentence)
        self.meta.setdefault("trouble", self._redactor.text(sentence))
        self._meta_due = True

    @property
    def _store(self) -> Store:
        if self._store_made is None:
            from ._store import Store

            self._store_made = Store(self.directory, self.meta, self._max_bytes, self.trouble, self._redactor)
        return self._store_made

    def _look_around(self) -> None:
        """Once, after the first rows are safe: what takes some milliseconds to find out."""
        if "packages" in self.meta or self._store_made is None:
            return
        self.meta["packages"] = installed()
        git = self.meta.get("git")
        if git:
            git["dirty"] = is_dirty(Path(git["root"]))
        self._meta_due = True

    def _guarded(self, act: Callable[[], None]) -> None:
        """Whatever goes wrong with a record, its recorder goes on."""
        try:
            act()
        except Exception as error:
            self.trouble(f"a part of the record is lost: {type(error).__name__}: {str(error)[:200]}")

    def _write_meta(self) -> None:
        if self.directory is None:
            return
        self._meta_written = time.monotonic()
        try:
            write_json(self.directory / "run.json", self.meta)
            self._meta_due = False
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self.trouble(f"cannot write {self.directory / 'run.json'}: {reason}")


def _merge(into: dict[str, Any], data: dict[str, Any]) -> None:
    for key, value in data.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
