"""The end of a run: the record is completed first, then judged, then shown."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from .._language import speaking, spoken, t
from ._rendezvous import REACHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._book import Book


def not_reached() -> str:
    return t(
        "nothing was watched: Python did not load trimtab's start-up hook. It must be installed with pip in the "
        "Python that runs the script, which must not run with -S; `trimtab doctor` checks it"
    )


def no_step() -> str:
    return t("no optimizer step was seen, so there is nothing to judge (`trimtab doctor` shows what is hooked)")


class Conclusion:
    """Draws up the end of one run. `facts`: status, max_rss_bytes, cpu_seconds; empty if unknown."""

    def __init__(self, book: Book, facts: dict[str, Any]) -> None:
        self._book = book
        self._options = book.options
        self._facts: dict[str, Any] = {
            name: facts[name] for name in ("status", "max_rss_bytes", "cpu_seconds") if name in facts
        }
        if (memory := memory_bytes()) is not None:
            self._facts["memory_bytes"] = memory

    def draw(self) -> None:
        with _impatience_noted() as hurry:
            book = self._book
            if book.writer is None and self._options.out is not None:
                book.guarded(t("writing the record"), book.enter_all)
            if book.writer is None:
                self._bare()
                return
            book.guarded(t("closing the record"), lambda: book.writer.close(**self._facts))
            verdict = book.guarded(t("judging the record"), self._judge)
            if verdict is not None:
                book.guarded(t("writing verdict.json"), lambda: self._write_verdict(verdict.to_json()))
            if not book.steps_seen:
                book.guarded(t("summing up"), lambda: self._sum_up(self._spoken(verdict)))
            elif verdict is not None:
                hurry.allow()
                try:
                    book.guarded(t("printing the page"), lambda: self._print(self._spoken(verdict)))
                except _InAHurry:
                    book.note(t("page left out; `trimtab show` prints it"))

    def _judge(self) -> Any:
        """The verdict for verdict.json, in English."""
        from trimtab.findings import judge, with_alarms

        with speaking("en"):
            return with_alarms(judge(self._record()), self._book.alarms)

    def _spoken(self, verdict: Any) -> Any:
        """The verdict in the user's language."""
        from trimtab.findings import judge, with_alarms

        if verdict is None or spoken() == "en":
            return verdict
        return with_alarms(judge(self._record()), self._book.spoken_alarms)

    def _sum_up(self, verdict: Any) -> None:
        """A line for a run without a step, where it is of use."""
        if not self._facts.get("status"):
            self._book.note(str(verdict.reason) if verdict is not None and self._knows_why() else no_step())
        elif verdict is not None:
            from trimtab.findings import crash_words

            crash = next((f for f in verdict.findings if f.kind == "crash"), None)
            if crash is not None and (self._options.out is not None or crash.causes):
                why = crash.causes[0].why if crash.causes else ""
                self._book.note(crash_words(crash.says, why, crash.remedies))

    def _knows_why(self) -> bool:
        """The record tells why no step was seen."""
        from trimtab.findings import History

        return any(event.data.get("what") == "no step" for event in History(self._record(), ()).events_of("unseen"))

    def _tell_known_crash(self) -> None:
        """A script that failed before anything was recorded gets a line only if that says more than the traceback."""
        if data := self._book.waiting_exception():
            from trimtab.findings import crash_line

            if line := crash_line(data):
                self._book.note(line)

    def _record(self) -> Any:
        """The whole record from disk; what is in memory where there is no disk."""
        directory = self._book.directory
        if directory is not None and (directory / "run.json").exists():
            from trimtab.runs import Record

            with contextlib.suppress(Exception):
                return Record.open(directory)
        return self._book.writer.record()

    def _print(self, verdict: Any) -> None:
        if self._options.quiet:
            return
        from rich.console import Console

        from trimtab.report.terminal import page

        record = self._record()
        if self._options.page_file:
            with open(self._options.page_file, "w", encoding="utf-8") as file:
                page(verdict, record, Console(file=file, width=100))
        else:
            page(verdict, record, Console(file=sys.stderr))

    def _bare(self) -> None:
        """A program that sent no row: a word about it, and the files where they were asked for."""
        book, status = self._book, self._facts.get("status")
        if not os.path.exists(os.path.join(self._options.place, REACHED)):
            book.note(not_reached())
        elif not status:
            book.note(no_step())
        else:
            book.guarded(t("summing up"), self._tell_known_crash)
        if self._options.out is not None:
            book.guarded(t("writing the record"), self._write_bare)
        elif book.directory is not None:
            with contextlib.suppress(OSError):
                book.directory.rmdir()

    def _write_bare(self) -> None:
        self._book.begin()
        self._book.writer.close(**self._facts)
        outcome = "crashed" if self._facts.get("status") else "unjudged"
        with speaking("en"):
            reason = no_step()
        verdict = {"schema": 1, "outcome": outcome, "steps": 0, "reason": reason, "parts": [], "findings": []}
        self._write_verdict(verdict)

    def _write_verdict(self, verdict: dict[str, Any]) -> None:
        from trimtab.runs._metadata import write_json

        directory = self._book.directory
        if directory is not None and directory.is_dir():
            write_json(directory / "verdict.json", verdict)


def memory_bytes() -> int | None:
    """What this machine, or the container that this runs in, has of memory; None where that is not told."""
    known = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        known.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
        known.append(int(file.read()))
    return min(known, default=None)


class _InAHurry(Exception):  # noqa: N818 - not an error
    """The user pressed Ctrl-C while the page was being made."""


class _Hurry:
    """Whether SIGUSR1, which stands for the user's impatience, may break in."""

    def __init__(self) -> None:
        self._allowed = False
        self._wanted = False

    def allow(self) -> None:
        self._allowed = True
        if self._wanted:
            raise _InAHurry

    def on_signal(self, *_: Any) -> None:
        self._wanted = True
        if self._allowed:
            raise _InAHurry


@contextlib.contextmanager
def _impatience_noted() -> Iterator[_Hurry]:
    hurry = _Hurry()
    before = signal.signal(signal.SIGUSR1, hurry.on_signal)
    try:
        yield hurry
    finally:
        signal.signal(signal.SIGUSR1, before)
