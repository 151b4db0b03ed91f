"""How an exception is recognised: by its type, its message, and the line of the user's that it came from.

A `KnownError` is one row of a table. What no row matches stays as it is: nothing is guessed. Patterns are regular
expressions; the texts of a row are filled in with the groups of all its patterns: `%(name)s`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._telling import telling
from .._cause import EXACT, Clue

Groups = Mapping[str, str]


def _own(groups: Groups) -> str:
    return groups.get("old", "")


@dataclass(frozen=True)
class KnownError:
    """One way in which scripts end.

    `type` is matched as a whole, `message` searched in what the message tells; `line`, where given, must be found on
    the user's line, and `raised_in` in "file.py:function". A pattern may hold the groups of those before it. `names`
    maps what `key` makes of the groups to the group `new`; a row does not match what is not in it. `says` makes the
    sentence.

    What to try is the user's own line with the only match of `turn` become `into` (a function that answers with nothing
    leaves it); `tries` where there is no such match, and `also` in any case.
    """

    cause: str
    type: str
    message: str
    says: Callable[[Groups], str]
    line: str = ""
    raised_in: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    key: Callable[[Groups], str] = _own
    turn: str = ""
    into: str | Callable[[Groups], str] = ""
    tries: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recognised:
    cause: str
    clue: Clue


def recognised(exception: Mapping[str, Any], rows: tuple[KnownError, ...]) -> Recognised | None:
    """The first row that matches, as a clue; None where none does."""
    kind, source = str(exception.get("type", "")), str(exception.get("source") or "")
    message, raised_in = telling(str(exception.get("message", ""))), str(exception.get("raised_in") or "")
    for row in rows:
        groups = _groups(row, kind, message, source, raised_in)
        if groups is not None:
            return Recognised(row.cause, Clue(row.says(groups), EXACT, _remedies(row, groups, source)))
    return None


def _groups(row: KnownError, kind: str, message: str, source: str, raised_in: str) -> Groups | None:
    """The named groups of a row's patterns, with `new`; None where the row does not match."""
    if not re.fullmatch(row.type, kind):
        return None
    groups: dict[str, str] = {}
    for pattern, text in ((row.message, message), (row.line, source), (row.raised_in, raised_in)):
        if pattern:
            found = re.search(_filled(pattern, groups), text)
            if found is None:
                return None
            groups |= {name: value or "" for name, value in found.groupdict().items()}
    if row.names:
        new = row.names.get(row.key(groups))
        return None if new is None else groups | {"new": new}
    return groups


def _filled(pattern: str, groups: Groups) -> str:
    return pattern % {name: re.escape(value) for name, value in groups.items()}


def _remedies(row: KnownError, groups: Groups, source: str) -> tuple[str, ...]:
    turned = _turned(row, groups, source)
    tries = (turned,) if turned else tuple(text % groups for text in row.tries)
    return (*tries, *(text % groups for text in row.also))


def _turned(row: KnownError, groups: Groups, source: str) -> str:
    """The lines of `source` that change where the one match of `turn` becomes `into`; empty where there is not one."""
    if not row.turn or not source:
        return ""
    found = list(re.finditer(_filled(row.turn, groups), source))
    if len(found) != 1:
        return ""
    if callable(row.into):
        new = row.into({**groups, **{name: value or "" for name, value in found[0].groupdict().items()}})
        if not new:
            return ""
    else:
        new = found[0].expand(row.into % groups)
    before = source.splitlines()
    after = (source[: found[0].start()] + new + source[found[0].end() :]).splitlines()
    changed = [line.strip() for i, line in enumerate(after) if i >= len(before) or line != before[i]]
    return " ".join(changed) if len(changed) <= 2 else ""
