"""The recorder: a process that takes in what the watched processes send, writes it down and judges it.

It outlives the training, however that ends. NumPy, PyArrow and Rich are imported here, at the first
block of rows; a program that never trains costs none of them.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from trimtab.runs._wire import Decoder, encode

from .._language import speaking, users_language
from ._book import Book
from ._program import Program

RECEIVE_BYTES = 1 << 20
STRAGGLER_SECONDS = 5.0
FLUSH_SECONDS = 1.0
REST_FACTOR = 4.0
"""A flush that takes long is followed by a rest of this many times the CPU time that it took."""
URGENT_EVENTS = ("nonfinite", "exception")


class RecorderOptions(NamedTuple):
    """What the recorder is told at its start.

    `place` is the directory of the rendezvous. With `page_file` the last page goes there.
    """

    out: str | None
    program: Program
    metrics: Sequence[Sequence[str | None]]
    max_bytes: int
    started: float
    place: str
    quiet: bool = False
    page_file: str | None = None


class _Peer:
    """One connection: a watched process, or the supervisor (`control`)."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.decoder = Decoder()
        self.hello: dict[str, Any] | None = None

    @property
    def is_control(self) -> bool:
        return self.hello is not None and self.hello.get("role") == "control"


def become_recorder() -> None:
    """Leave the terminal's reach and the user's stdin and stdout to the program."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(AttributeError, OSError):  # where there is such a thing: on waking, let the training go on
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def serve(listener: socket.socket, options: RecorderOptions) -> None:
    """Record until the supervisor says that the program has ended, or is gone, then conclude."""
    with speaking(users_language(sys.stderr)):
        book = Book(options)
        facts = _Server(listener, book).run()
        book.conclude(facts)


class _Server:
    def __init__(self, listener: socket.socket, book: Book) -> None:
        self._book = book
        self._selector = selectors.DefaultSelector()
        self._listener = listener
        self._peers: dict[int, _Peer] = {}
        self._facts: dict[str, Any] | None = None
        self._give_up_at = float("inf")
        self._flush_at = 0.0
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def run(self) -> dict[str, Any]:
        """What the supervisor said at the end; empty if it was killed."""
        while not self._is_over():
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(self._peers[key.fd])
            if self._book.is_dirty and time.monotonic() >= self._flush_at:
                self._flush()
        self._drain_all()
        return self._facts or {}

    def _is_over(self) -> bool:
        if self._facts is None:
            return False
        self._accept()
        stragglers = any(not peer.is_control for peer in self._peers.values())
        return not stragglers or time.monotonic() >= self._give_up_at

    def _patience(self) -> float | None:
        """Seconds until there is something to do besides reading."""
        now = time.monotonic()
        due = [self._give_up_at]
        if self._book.is_dirty:
            due.append(self._flush_at)
        return None if min(due) == float("inf") else max(0.0, min(due) - now)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setblocking(False)
            self._peers[connection.fileno()] = _Peer(connection)
            self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, peer: _Peer) -> bool:
        """Take in what has come on a connection; False if nothing had, or it is closed now."""
        try:
            data = peer.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close(peer)
            return False
        try:
            for header, payload in peer.decoder.feed(data):
                self._take(peer, header, payload)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            # Not a message of ours, or a damaged one: that process is lost, the others are not.
            self._book.note(f"a watched process sent what cannot be read ({type(error).__name__}: {error})")
            self._close(peer)
            return False
        return True

    def _take(self, peer: _Peer, header: dict[str, Any], payload: bytes) -> None:
        kind = header["type"]
        if kind == "hello":
            peer.hello = header
        elif peer.hello is None:
            raise ValueError(f"{kind} before hello")
        elif peer.is_control:
            if kind == "end":
                self._program_ended(header)
        elif kind == "flush":
            self._flush()
            self._answer(peer)
        else:
            self._book.take(peer.hello, header, payload)
            if _is_urgent(header):
                self._flush_at = self._book.judge_at = 0.0

    def _program_ended(self, facts: dict[str, Any]) -> None:
        if self._facts is None:
            self._facts = facts
            self._give_up_at = time.monotonic() + STRAGGLER_SECONDS

    def _answer(self, peer: _Peer) -> None:
        with contextlib.suppress(OSError):
            peer.socket.sendall(encode({"type": "flushed"}))

    def _close(self, peer: _Peer) -> None:
        self._selector.unregister(peer.socket)
        del self._peers[peer.socket.fileno()]
        peer.socket.close()
        if peer.is_control:
            self._program_ended({})

    def _flush(self) -> None:
        began, spent = time.monotonic(), time.process_time()
        self._book.flush()
        spent = time.process_time() - spent
        self._flush_at = began + max(FLUSH_SECONDS, (1 + REST_FACTOR) * spent)

    def _drain_all(self) -> None:
        """What stragglers have sent so far is still theirs; what comes later is not."""
        deadline = time.monotonic() + STRAGGLER_SECONDS
        for peer in list(self._peers.values()):
            while time.monotonic() < deadline and self._read(peer):
                pass
        for peer in self._peers.values():
            peer.socket.close()
        self._listener.close()
        self._selector.close()


def _is_urgent(header: dict[str, Any]) -> bool:
    kinds = header.get("values", {}).get("kind", ())
    return header.get("table") == "events" and any(kind in URGENT_EVENTS for kind in kinds)
