"""What the recorder keeps: the run being written, its live judgement, and its last page."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._language import speaking, spoken, t
from ._conclusion import Conclusion
from ._rendezvous import RUN_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

    from trimtab.findings import Finding, Verdict

    from ._recorder import RecorderOptions

Header = dict[str, Any]
MAX_WAITING_BYTES = 16 << 20
JUDGE_REST = 200.0
"""A judgement is followed by a rest of this many times the CPU time that it took."""


class Book:
    """Writes what processes send into a run, which begins with the first row that any of them sends.

    A process enters the record with its first row; until then what it says is held back, so that
    programs that never train, and helpers of those that do, leave nothing.
    """

    def __init__(self, options: RecorderOptions) -> None:
        self.options = options
        self.is_dirty = False
        self.writer: Any = None
        self.directory: Path | None = None
        self.steps_seen = False
        self.judge_at = 0.0
        self._framework_seen = False
        self._claimed = False
        self._indices: dict[int, int] = {}
        self._waiting: dict[int, tuple[Header, list[tuple[Header, bytes]]]] = {}
        self._waiting_bytes = 0
        self._troubles: set[str] = set()
        self._announced: set[tuple[str, object]] = set()
        #: The findings that were announced while the training ran: in English, and as they were said.
        self.alarms: list[Finding] = []
        self.spoken_alarms: list[Finding] = []

    def claim(self) -> None:
        """Make the run directory, and tell the watched processes where it is. Only the first call does."""
        if not self._claimed:
            self._claimed = True
            self.guarded(t("making the run directory"), self._claim)

    def _claim(self) -> None:
        from pathlib import Path

        from trimtab.runs._directory import claim_directory

        out = self.options.out
        try:
            self.directory = claim_directory(self.options.program.name, self.note, out=Path(out) if out else None)
        finally:
            file = os.path.join(self.options.place, RUN_DIRECTORY)
            with open(file + ".tmp", "w", encoding="utf-8", errors="surrogateescape") as text:
                text.write(str(self.directory or ""))
            os.replace(file + ".tmp", file)

    def take(self, hello: Header, header: Header, payload: bytes) -> None:
        """One message of the process that introduced itself with `hello`."""
        process = int(hello["pid"])
        kind = header["type"]
        if kind == "claim":
            self.claim()
        if kind not in ("rows", "names", "describe"):
            return
        self._framework_seen = self._framework_seen or kind == "describe"
        if process not in self._indices and kind == "rows" and self._is_worth_a_run(header):
            self._enter(hello)
        if process in self._indices:
            self._apply(self._indices[process], header, payload)
        else:
            self._hold(hello, header, payload)

    def enter_all(self) -> None:
        """Let every process that has sent rows into the record, whatever they are."""
        for hello, messages in list(self._waiting.values()):
            if any(header["type"] == "rows" for header, _ in messages):
                self._enter(hello)

    def waiting_exception(self) -> dict[str, Any]:
        """The exception that a process outside of the record told of; empty where there was none."""
        import json

        for _, messages in self._waiting.values():
            for header, _ in messages:
                values = header.get("values", {})
                for kind, data in zip(values.get("kind", ()), values.get("data", ()), strict=False):
                    if header.get("table") == "events" and kind == "exception":
                        return dict(json.loads(data))
        return {}

    def note(self, sentence: str) -> None:
        """Say one thing on stderr, once."""
        if sentence not in self._troubles:
            self._troubles.add(sentence)
            self.say(t("trimtab: {sentence}", sentence=sentence))

    def say(self, text: str) -> None:
        if not self.options.quiet:
            try:
                sys.stderr.write(text.rstrip("\n") + "\n")
                sys.stderr.flush()
            except (OSError, ValueError):
                pass

    def flush(self) -> None:
        """Write what has come; where it is time, judge it and announce what is new. No error of ours gets out."""
        self.is_dirty = False
        if self.writer is None:
            return
        self.guarded(t("writing the record"), self.writer.flush)
        began = time.monotonic()
        if self.steps_seen and began >= self.judge_at:
            self.guarded(t("judging the record"), _import_judges)  # once, so that it asks for no rest
            spent = time.process_time()
            self.guarded(t("judging the record"), self._announce)
            self.judge_at = began + (1 + JUDGE_REST) * (time.process_time() - spent)

    def conclude(self, facts: Header) -> None:
        """The program has ended: complete the record, judge it, print the page."""
        Conclusion(self, facts).draw()

    def guarded(self, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self.note(f"{what}: {type(error).__name__}: {error}")
            if os.environ.get("TRIMTAB_DEBUG"):
                import traceback

                traceback.print_exc()
            return None

    def _is_worth_a_run(self, header: Header) -> bool:
        """A script that fails before it has imported a framework is no training, and gets no run."""
        return header["table"] != "events" or self._framework_seen or self.writer is not None

    def _enter(self, hello: Header) -> None:
        self.begin()
        process = int(hello["pid"])
        _, messages = self._waiting.pop(process, (hello, []))
        index = self.writer.process({k: v for k, v in hello.items() if k not in ("type", "role", "again")})
        self._indices[process] = index
        for header, payload in messages:
            self._apply(index, header, payload)

    def _apply(self, index: int, header: Header, payload: bytes) -> None:
        kind = header["type"]
        if kind == "rows":
            self.steps_seen = self.steps_seen or header["table"] == "steps"
            self.is_dirty = True
            self.writer.rows(index, header, payload)
        elif kind == "names":
            self.writer.names(index, header["column"], header["first"], header["names"])
        else:
            self.writer.describe(index, header["data"])

    def _hold(self, hello: Header, header: Header, payload: bytes) -> None:
        self._waiting_bytes += len(payload) + 1000
        if self._waiting_bytes < MAX_WAITING_BYTES:
            self._waiting.setdefault(int(hello["pid"]), (hello, []))[1].append((header, payload))

    def begin(self) -> None:
        """Begin the run, if that has not happened."""
        if self.writer is not None:
            return
        self.claim()
        from trimtab.runs import Redactor, RunWriter, describe_run

        options, program = self.options, self.options.program
        redactor = Redactor(os.environ, program.command)
        meta = describe_run(program.command, program=program.name, metrics=options.metrics, redactor=redactor)
        self.writer = RunWriter(
            self.directory, meta, max_bytes=options.max_bytes, on_trouble=self.note, redactor=redactor
        )

    def _announce(self) -> None:
        from trimtab.findings import judge
        from trimtab.report.terminal import event_line

        record = self.writer.record()
        with speaking("en"):
            found = _by_key(judge(record, live=True))
        new = [key for key in found if key not in self._announced]
        if not new:
            return
        told = found if spoken() == "en" else _by_key(judge(record, live=True))
        for key in new:
            self._announced.add(key)
            self.alarms.append(found[key])
            self.spoken_alarms.append(told[key])
            self.say(event_line(told[key]))


def _import_judges() -> None:
    import trimtab.findings
    import trimtab.report.terminal  # noqa: F401


def _by_key(verdict: Verdict) -> dict[tuple[str, object], Finding]:
    """The findings by kind and, where several models are trained in turn, by the optimizer that they name first."""
    return {(f.kind, f.where[0].get("optimizer") if verdict.parts and f.where else None): f for f in verdict.findings}
