"""A watched process's side of the record. Standard library only, and as little of it as can be."""

from __future__ import annotations

import os
import sys
import time
from _thread import RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._line import Line

DRAIN_SECONDS = 30.0
SYNC_SECONDS = 10.0
DIRECTORY_SECONDS = 5.0

_current: Session | None = None


def current() -> Session | None:
    """This process's session, None where nothing watches."""
    return _current


def set_current(session: Session | None) -> None:
    global _current
    _current = session


class Session:
    """What is said to the recorder by this process.

    The line to the recorder is made at the first message: a process that never trains never
    connects. `settings` is what `trimtab run` handed down in TRIMTAB_SESSION, read when first needed.
    """

    def __init__(self, settings: str) -> None:
        self._text = settings
        self._settings: dict[str, Any] | None = None
        self._line: Line | None = None
        self._directory: str | None = None
        self._lock = RLock()
        #: A trainer has logged metrics of its own.
        self.reports_itself = False
        #: What the frameworks' `attach` returned; those with a `detach` are undone by `leave`.
        self.watchers: list[Any] = []
        self._exit_callbacks: list[Callable[[], Any]] = []
        self._fork_callbacks: list[Callable[[], Any]] = []
        self._ended = False
        self._complained = False
        self._inherited_position: tuple[int, int] | None = None
        #: Where the training stands: (optimizer, step); a framework's watcher sets it.
        self.position: Callable[[], tuple[int, int]] = lambda: (-1, -1)

    @property
    def settings(self) -> dict[str, Any]:
        if self._settings is None:
            import json

            self._settings = dict(json.loads(self._text))
        return self._settings

    @property
    def started(self) -> float:
        """When the run began, on the clock of time.monotonic()."""
        return float(self.settings.get("started", 0.0))

    @property
    def keeps_batch(self) -> bool:
        """Whether the batch of a step that fails is to be kept (`--keep-batch`)."""
        return bool(self.settings.get("keep_batch"))

    @property
    def policies(self) -> tuple[str, ...]:
        """What guards the training (`--with`, `--guard`), in order, as it is typed; checked by `trimtab run`."""
        return tuple(self.settings.get("policies", ()))

    @property
    def replay(self) -> dict[str, Any] | None:
        """What `trimtab show --replay` asks for; None in a training that is watched."""
        found: dict[str, Any] | None = self.settings.get("replay")
        return found

    @property
    def directory(self) -> str | None:
        """The run directory, which the recorder makes when it is first asked for or written.

        None if the record is kept in memory.
        """
        if self._directory is None and self.channel.is_open:
            self.channel.send({"type": "claim"})
            self._directory = _read_when_there(os.path.dirname(self.settings["socket"]) + "/directory")
        return self._directory or None

    @property
    def channel(self) -> Line:
        """The line to the recorder; another one after a fork, or after a signal tore the first."""
        line = self._line
        if line is None or line.broken:
            with self._lock:
                if self._line is line:
                    from ._line import Line, hello

                    again = line is not None
                    line = Line(self.settings["socket"])
                    line.send({**hello(), "again": again})
                    self._line = line
        assert self._line is not None
        return self._line

    def on_exit(self, callback: Callable[[], Any]) -> None:
        """Have `callback` called before the last words of this process are sent, however it ends in Python."""
        self._exit_callbacks.append(callback)

    def on_fork(self, callback: Callable[[], Any]) -> None:
        """Have `callback` called in every forked child, to drop what the parent has gathered but not sent."""
        self._fork_callbacks.append(callback)

    def describe(self, **data: Any) -> None:
        """Put facts into this process's entry of run.json."""
        self.channel.send({"type": "describe", "data": data})

    def event(self, kind: str, **data: Any) -> None:
        """Record one thing that happened, with what is known of it."""
        import json

        self._row("events", {"kind": [kind], "data": [json.dumps(data, default=str)]})

    def log(self, name: str, value: float, source: str = "log", step: int | None = None) -> None:
        """Record one value of one metric, at the optimizer step where the training stands."""
        from struct import pack

        self._row("metrics", {"name": [name], "source": [source]}, step, ("value", "<f8", pack("<d", value)))

    def error(self, where: str) -> None:
        """Report the exception being handled, which is trimtab's own: once on stderr, in full in the record."""
        from traceback import format_exc

        try:
            if not self._complained:
                self._complained = True
                what = sys.exc_info()[1]
                text = f"trimtab: {where}: {type(what).__name__}: {what}; watching stopped, the training goes on\n"
                sys.__stderr__.write(text) if sys.__stderr__ is not None else None
            self.event("trimtab_error", where=where, traceback=format_exc())
        except Exception:
            pass

    def flush(self) -> None:
        """Gather what the watchers hold and hand it to the recorder, without waiting for the disk."""
        for callback in list(self._exit_callbacks):
            self._guard(callback)
        if self._line is not None:
            self._line.drain(DRAIN_SECONDS)

    def sync(self) -> None:
        """`flush`, then wait until the recorder has written it."""
        self.flush()
        if self._line is not None:
            self._line.sync(SYNC_SECONDS)

    def end(self, how: str) -> None:
        """Send the last words of this process. What comes after is still taken."""
        if self._ended or self._has_nothing_to_say():
            return
        self._ended = True
        self.flush()
        if self._line is not None:
            self._line.send({"type": "end", "how": how})
            self._line.drain(DRAIN_SECONDS)

    def leave(self) -> None:
        """`end`, and let the line go: this session is over though its process is not."""
        self.end("exit")
        for watcher in self.watchers:
            if hasattr(watcher, "detach"):
                self._guard(watcher.detach)
        if self._line is not None:
            self._line.close()

    def in_child(self) -> None:
        """Become the session of a forked child: nothing of the parent's is sent again, no line is held."""
        self._lock = RLock()
        self._ended = False
        line, self._line = self._line, None
        if line is not None:
            line.close()
        for callback in list(self._fork_callbacks):
            self._guard(callback)
        self._inherited_position = self.position()

    def _has_nothing_to_say(self) -> bool:
        """Never spoke, and holds nothing: what a forked child inherited is its parent's to say."""
        if self._line is not None:
            return False
        return not self._exit_callbacks or self.position() == self._inherited_position

    def _guard(self, callback: Callable[[], Any]) -> None:
        try:
            callback()
        except Exception:
            self.error("closing the record")

    def _row(
        self,
        table: str,
        values: dict[str, list[str]],
        step: int | None = None,
        *more: tuple[str, str, bytes],
    ) -> None:
        from struct import pack

        optimizer, now = self.position()
        columns = [
            ("optimizer", "<i2", pack("<h", optimizer)),
            ("step", "<i8", pack("<q", now if step is None else step)),
            ("time", "<f8", pack("<d", time.monotonic() - self.started)),
            *more,
        ]
        layout = [[name, dtype] for name, dtype, _ in columns]
        header = {"type": "rows", "table": table, "rows": 1, "columns": layout, "values": values}
        self.channel.send(header, *(data for _, _, data in columns))


def _read_when_there(path: str) -> str:
    """The text of a file that is about to appear; empty if it does not."""
    deadline = time.monotonic() + DIRECTORY_SECONDS
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def start_session(settings: str) -> Session:
    """Make this process a watched one."""
    session = Session(settings)
    set_current(session)
    return session
