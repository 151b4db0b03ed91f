"""The place where watched processes find the recorder: a socket in a private temporary directory."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

MAX_SOCKET_PATH = 100
"""The system allows 104 bytes (macOS) or 108 (Linux)."""
REACHED = "reached"
"""File that exists once a process has loaded the start-up hook."""
RUN_DIRECTORY = "directory"
"""File that names the run directory once there is one; empty if the record is kept in memory."""


class Rendezvous:
    """A listening socket, its directory, and the supervisor's own line to whoever listens."""

    def __init__(self, directory: str) -> None:
        from ._line import Line, hello

        self.directory = directory
        self.path = os.path.join(directory, "socket")
        self.reached = os.path.join(directory, REACHED)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(256)
        self.control = Line(self.path)
        self.control.send(hello("control"))

    @classmethod
    def make(cls) -> Rendezvous:
        error: OSError | None = None
        for parent in dict.fromkeys((os.environ.get("TMPDIR") or "/tmp", "/tmp", "/var/tmp", "/dev/shm")):
            directory = os.path.join(os.path.abspath(parent), f"trimtab-{os.getpid()}-{os.urandom(4).hex()}")
            if len(os.fsencode(directory)) + 8 > MAX_SOCKET_PATH:
                continue
            try:
                os.mkdir(directory, 0o700)
                return cls(directory)
            except OSError as caught:
                error = caught
                remove_place(directory)
        raise error or OSError("no temporary directory has a path short enough for a socket")

    def close_listener(self) -> None:
        self.listener.close()

    def as_recorder(self) -> socket.socket:
        """In the recorder: give up the supervisor's end, keep the listening one."""
        self.control.close()
        return self.listener

    def say_end(self, facts: dict[str, Any]) -> None:
        """The program has ended; the recorder may finish."""
        self.control.send({"type": "end", **facts})
        self.control.drain(5.0)
        self.control.close()

    def remove(self) -> None:
        remove_place(self.directory)


def remove_place(directory: str) -> None:
    """Delete a rendezvous; nothing else is in it."""
    for name in ("socket", REACHED, RUN_DIRECTORY):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, name))
    with contextlib.suppress(OSError):
        os.rmdir(directory)
