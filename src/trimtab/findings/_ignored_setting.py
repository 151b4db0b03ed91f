"""ignored-setting: the script asks for something that the installed version of a library takes, and leaves undone.

Told by an event of kind `old_spelling`, which a framework's watcher sends where it sees such a setting, with

    setting     its name ("decay")
    value       as given, a number or text
    of          what it was given to ("SGD")
    file, line, function, source    where, as in an exception's event
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .._language import t
from ._finding import Cause, Finding
from ._history import Event, History
from ._telling import shortened
from ._trouble import Trouble
from .causes import Clue
from .causes.errors import OLD, ignored_setting

MAX_SOURCE = 100


def ignored(history: History) -> Iterator[Finding]:
    """One finding on all of them."""
    told: dict[tuple[str, ...], tuple[Event, Clue]] = {}
    for event in history.events_of("old_spelling"):
        data = event.data
        known = ignored_setting(str(data.get("setting")), str(data.get("source") or ""))
        # One that asks for nothing (decay=0.0) is no loss.
        if known is not None and data.get("value") not in (None, 0, False):
            key = tuple(str(data.get(name)) for name in ("setting", "of", "file", "line"))
            told.setdefault(key, (event, known.clue))
    if told:
        yield _finding(list(told.values()))


def _finding(told: list[tuple[Event, Clue]]) -> Finding:
    steps = [max(event.step, 0) for event, _ in told]
    whys = dict.fromkeys(clue.why for _, clue in told)
    remedies = dict.fromkeys(remedy for _, clue in told for remedy in clue.remedies)
    first = told[0][0].data
    return Finding(
        "ignored-setting",
        "warning",
        min(steps),
        max(steps),
        t("; ").join(_says(event.data) for event, _ in told),
        tuple(_place(event.data) for event, _ in told),
        {key: first[key] for key in ("setting", "value", "of", "source") if key in first},
        tuple(Cause(OLD, why) for why in whys),
        tuple(remedies),
    )


def _says(data: Mapping[str, Any]) -> str:
    source = " ".join(str(data.get("source") or "").split())
    where = f"{data.get('file')}:{data.get('line')}"
    return t(
        "{setting}={value} of {owner} has no effect ({where})",
        setting=data.get("setting"),
        value=data.get("value"),
        owner=data.get("of"),
        where=f"{where}: {shortened(source, MAX_SOURCE)}" if source else where,
    )


def _place(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in ("file", "line", "function") if data.get(key) is not None}


TROUBLE = Trouble(
    name="ignored-setting",
    summary="A setting of the script is taken and has no effect, in the installed version of the library.",
    measures="The arguments with which an optimizer is made, and what is set on it afterwards.",
    hurts=(
        "Nothing is raised, and the training is another one than the script describes: without its decay a learning "
        "rate stays as high as it began."
    ),
    is_not=(
        "A setting that asks for nothing: decay=0.0.",
        "One that the library refuses: the script ends, and that is a crash.",
    ),
    threshold="None: it is seen, or not.",
    causes=("old-spelling",),
    remedies="The line as it should read is given.",
    rule=ignored,
    whole_run=True,
)
