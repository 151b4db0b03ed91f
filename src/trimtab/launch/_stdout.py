"""Reads metrics out of the lines that the script prints, leaving the lines as they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ._session import Session, current

MAX_LINE = 65536
_LINE_END = re.compile(r"[\r\n]")


def watch_stdout(session: Session) -> None:
    """Look at every line written through this process's sys.stdout, until the session ends."""
    patterns = [(name, re.compile(pattern)) for name, pattern, _ in session.settings["metrics"]]
    stdout = sys.stdout
    if stdout is None or not patterns:
        return
    lines = LineMatcher(patterns, lambda name, value: session.log(name, value, source="stdout"))
    write = stdout.write

    def watched_write(text: str, /) -> int:
        count = write(text)
        if current() is session:
            try:
                lines.feed(text)
            except Exception:
                session.error("--metric")
                stdout.__dict__.pop("write", None)
        return count

    stdout.write = watched_write  # type: ignore[method-assign]


class LineMatcher:
    """Cuts text, in whatever pieces it comes, into lines and reports the number in each match."""

    def __init__(self, patterns: Sequence[tuple[str, re.Pattern[str]]], found: Callable[[str, float], Any]) -> None:
        self._patterns = patterns
        self._found = found
        self._rest = ""

    def feed(self, text: str) -> None:
        *lines, rest = _LINE_END.split(self._rest + text)
        self._rest = rest[-MAX_LINE:]
        for line in lines:
            for name, pattern in self._patterns:
                for match in pattern.finditer(line):
                    value = number(match[1])
                    if value is not None:
                        self._found(name, value)


def number(text: str | None) -> float | None:
    """The float that a text is, None where it is none. A percent sign and a comma at its end are dropped."""
    try:
        return float((text or "").strip().rstrip("%,;"))
    except ValueError:
        return None
