"""The watched process's end of the line to its recorder. Standard library only; never blocks a training."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from typing import Any

from ._wire import Decoder, encode

MAX_QUEUED_BYTES = 64 << 20


class Channel:
    """Sends messages to the recorder; queues what the socket does not take at once.

    Should the recorder die or fall more than `MAX_QUEUED_BYTES` behind, the channel closes and
    everything after is dropped in silence: a training never waits for its record, save in `drain`.
    """

    def __init__(self, path: str) -> None:
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            self._socket.connect(path)
            self._socket.setblocking(False)
        except OSError:
            self.close()

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def send(self, header: dict[str, Any], *payload: bytes | memoryview) -> None:
        """Queue one message and pass on as much of the queue as the socket takes now."""
        if self._socket is None:
            return
        message = encode(header, *payload)
        self._queue.append(memoryview(message))
        self._queued += len(message)
        self._push()
        if self._queued > MAX_QUEUED_BYTES:
            self.close()

    def drain(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until all that was queued has been sent."""
        deadline = time.monotonic() + timeout
        while self._queue and self._socket is not None and (left := deadline - time.monotonic()) > 0:
            select.select([], [self._socket], [], left)
            self._push()
        return not self._queue

    def sync(self, timeout: float) -> bool:
        """Have the recorder write everything to disk; True once it says that it has."""
        self.send({"type": "flush"})
        deadline = time.monotonic() + timeout
        decoder = Decoder()
        if not self.drain(timeout):
            return False
        while self._socket is not None and (left := deadline - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                return False
            try:
                data = self._socket.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.close()
            if any(header.get("type") == "flushed" for header, _ in decoder.feed(data)):
                return True
        return False

    def close(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
        self._socket = None
        self._queue.clear()
        self._queued = 0

    def _push(self) -> None:
        try:
            while self._queue and self._socket is not None:
                sent = self._socket.send(self._queue[0])
                self._queued -= sent
                if sent == len(self._queue[0]):
                    self._queue.popleft()
                else:
                    self._queue[0] = self._queue[0][sent:]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
