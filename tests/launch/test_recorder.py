"""The recorder takes what is well formed, drops what is not, and keeps out of the training's way."""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trimtab.launch._book import JUDGE_REST, Book
from trimtab.launch._conclusion import _impatience_noted, _InAHurry
from trimtab.launch._line import Line, hello
from trimtab.launch._program import Program
from trimtab.launch._recorder import RecorderOptions, _Server
from trimtab.launch._rendezvous import Rendezvous
from trimtab.launch._watch import _start_recorder

METRIC = {
    "type": "rows",
    "table": "metrics",
    "rows": 1,
    "columns": [["optimizer", "<i2"], ["step", "<i8"], ["time", "<f8"], ["value", "<f8"]],
    "values": {"name": ["x"], "source": ["log"]},
}
NOT_OURS = [
    b"GET / HTTP/1.1\r\n\r\n",
    struct.pack("!II", 5, 0) + b"[1,2]",
    struct.pack("!II", 2, 0) + b"{}",
    struct.pack("!II", 3, 0) + b"\xff{}",
    struct.pack("!II", 1 << 31, 1 << 31),
    struct.pack("!II", 16, 0) + b'{"type": "rows"}',
    b"\0",
]


def row(value: float) -> bytes:
    return struct.pack("<hqdd", -1, -1, 0.0, value)


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class FakeBook:
    """Counts the flushes, each of which takes `seconds` of CPU time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.flushed: list[float] = []
        self.taken: list[str] = []
        self.notes: list[str] = []
        self.is_dirty = False
        self.judge_at = 0.0

    def take(self, greeting: dict[str, Any], header: dict[str, Any], payload: bytes) -> None:
        self.taken.append(header["type"])
        self.is_dirty = True

    def flush(self) -> None:
        self.is_dirty = False
        self.flushed.append(time.monotonic())
        burn(self.seconds)

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)


@pytest.fixture
def place() -> Iterator[Rendezvous]:
    place = Rendezvous.make()
    yield place
    place.control.close()
    place.close_listener()
    place.remove()


def said(place: Rendezvous, *messages: dict[str, Any]) -> Line:
    line = Line(place.path)
    line.send(hello())
    for message in messages:
        line.send(message, row(1.0) if message["type"] == "rows" else b"")
    return line


@pytest.mark.parametrize("data", NOT_OURS, ids=repr)
def test_a_stranger_is_shown_the_door_and_nobody_else(place: Rendezvous, data: bytes) -> None:
    book = FakeBook()
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.connect(place.path)
    stranger.sendall(data)
    said(place, METRIC).close()
    place.say_end({"status": 0})
    stranger.close()
    facts = _Server(place.listener, book).run()  # type: ignore[arg-type]
    assert facts["status"] == 0
    assert book.taken == ["rows"]


def test_what_was_sent_before_the_end_is_taken_from_those_who_stay(
    place: Rendezvous, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.launch._recorder.STRAGGLER_SECONDS", 0.2)
    book = FakeBook()
    line = said(place, *[METRIC] * 100)
    place.say_end({"status": 0})
    _Server(place.listener, book).run()  # type: ignore[arg-type]
    assert book.taken == ["rows"] * 100
    line.close()


def test_the_end_is_seen_though_nobody_announced_it(place: Rendezvous) -> None:
    said(place, METRIC).close()
    place.control.close()
    assert _Server(place.listener, FakeBook()).run() == {}  # type: ignore[arg-type]


def test_a_long_flush_is_followed_by_a_rest(place: Rendezvous) -> None:
    server = _Server(place.listener, book := FakeBook(0.5))  # type: ignore[arg-type]
    began = time.monotonic()
    server._flush()
    assert server._flush_at - began >= 2.5
    for book.seconds in (0.0, 0.05):
        server._flush()
        assert 0.8 < server._flush_at - time.monotonic() <= 1.0


def test_a_judgement_that_takes_long_holds_up_no_row(place: Rendezvous, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is followed by a rest of many times the CPU time that it took."""
    book = Book(RecorderOptions(None, Program(("python", "x.py"), "x"), [], 10**9, 0.0, place.directory))
    book.writer, book.steps_seen, written, judged = SimpleNamespace(flush=lambda: written.append(1)), True, [], []
    monkeypatch.setattr(book, "_announce", lambda: (judged.append(1), burn(0.05)))
    for _ in range(3):
        book.flush()
    assert (len(written), len(judged)) == (3, 1)
    assert 0.5 < (book.judge_at - time.monotonic()) / (JUDGE_REST * 0.05) < 2.0
    book.judge_at = 0.0
    book.flush()
    assert len(judged) == 2


def test_an_event_that_matters_is_written_at_once(place: Rendezvous) -> None:
    book = FakeBook()
    event = {
        "type": "rows",
        "table": "events",
        "rows": 1,
        "columns": [],
        "values": {"kind": ["nonfinite"], "data": ["{}"]},
    }
    server = _Server(place.listener, book)  # type: ignore[arg-type]
    server._flush_at = book.judge_at = time.monotonic() + 1000
    said(place, event).close()
    place.say_end({"status": 0})
    server.run()
    assert len(book.flushed) == 1
    assert book.judge_at == 0.0


def test_a_process_that_waits_for_the_disk_gets_its_answer(place: Rendezvous, tmp_path: Path) -> None:
    options = {"out": str(tmp_path / "run"), "metrics": [], "max_bytes": 10**8, "started": 0.0}
    recorder = _start_recorder(place, options)
    line = said(place, METRIC)
    assert line.sync(30)
    assert list((tmp_path / "run" / "metrics").glob("*.parquet"))
    line.close()
    place.say_end({"status": 0})
    assert recorder.wait(30) == 0
    assert (tmp_path / "run" / "verdict.json").exists()


def test_a_line_that_a_signal_tore_is_replaced(place: Rendezvous, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.launch._session import Session

    session = Session(f'{{"socket": "{place.path}", "started": 0}}')
    session.log("a", 1.0)
    first = session.channel

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trimtab.runs.Channel.send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.log("b", 2.0)
    monkeypatch.undo()
    session.log("c", 3.0)
    assert session.channel is not first
    session.channel.close()
    place.say_end({"status": 0})
    book = FakeBook()
    _Server(place.listener, book).run()  # type: ignore[arg-type]
    assert book.taken == ["rows", "rows"]


def test_options_have_what_a_run_needs() -> None:
    options = RecorderOptions(None, Program(("python", "x.py"), "x"), [], 10**9, 0.0, "/tmp")
    assert not options.quiet


def test_an_impatient_user_is_spared_the_page_and_nothing_else() -> None:
    with _impatience_noted() as hurry:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.01)  # the record is being completed: nothing is broken off
        with pytest.raises(_InAHurry):
            hurry.allow()
        with pytest.raises(_InAHurry):
            signal.raise_signal(signal.SIGUSR1)
