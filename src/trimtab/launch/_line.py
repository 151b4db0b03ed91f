"""The watched process's line to the recorder, safe in threads and in signal handlers."""

from __future__ import annotations

import os
import sys
from _thread import RLock
from typing import Any

from trimtab.runs import Channel


def hello(role: str = "process") -> dict[str, Any]:
    """The first message on a line: who is speaking."""
    return {
        "type": "hello",
        "role": role,
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "argv": [str(argument) for argument in getattr(sys, "argv", [])],
        "cwd": _cwd(),
        "rank": _number("RANK"),
        "local_rank": _number("LOCAL_RANK"),
        "world_size": _number("WORLD_SIZE"),
        "python": sys.version.split()[0],
    }


class Line(Channel):
    """A Channel that several threads and signal handlers may use.

    A signal handler may raise (Ctrl-C) in the middle of a send. How much of the message is on its way
    is unknown then, so that nothing more can be said on the same stream: `broken` is set, and the
    session takes another line.
    """

    def __init__(self, path: str) -> None:
        self._lock = RLock()
        self._busy = False
        self._later: list[tuple[dict[str, Any], tuple[bytes | memoryview, ...]]] = []
        self.broken = False
        super().__init__(path)

    def send(self, header: dict[str, Any], *payload: bytes | memoryview) -> None:
        with self._lock:
            if self._busy:
                self._later.append((header, payload))
                return
            self._busy = True
            try:
                super().send(header, *payload)
                while self._later:
                    waiting, bodies = self._later.pop(0)
                    super().send(waiting, *bodies)
            except BaseException:
                self._break()
                raise
            finally:
                self._busy = False

    def drain(self, timeout: float) -> bool:
        with self._lock:
            if self._busy:
                return False
            self._busy = True
            try:
                return super().drain(timeout)
            except BaseException:
                self._break()
                raise
            finally:
                self._busy = False

    def _break(self) -> None:
        self.broken = True
        self.close()


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _number(name: str) -> int | None:
    text = os.environ.get(name, "")
    return int(text) if text.isdigit() else None
