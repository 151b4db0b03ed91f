"""crash: the script ended by an exception, a signal or with a status that is not 0."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._language import t
from ._finding import Finding
from ._history import Event, History, Track
from ._telling import shortened, telling
from ._trouble import Trouble
from .causes import Case, explain
from .causes._cause import Nothing
from .causes._process import MUCH_MEMORY, memory_share, package_clue
from .causes.errors import known_error

MAX_MESSAGE = 200
MAX_SOURCE = 100
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPT_STATUSES = frozenset(128 + s for s in INTERRUPTS) | frozenset(-s for s in INTERRUPTS)


def status_of(meta: Mapping[str, Any]) -> int | None:
    """The script's exit status, negative for a signal; None while it is not known."""
    status = meta.get("status")
    return int(status) if isinstance(status, int) and not isinstance(status, bool) else None


def interrupted(history: History) -> str:
    """How the run was interrupted on purpose, for people; empty where it was not."""
    status = status_of(history.record.meta)
    last = _exception(history)
    if last and str(last.data.get("type")) == "KeyboardInterrupt":
        return "Ctrl-C"
    if status in INTERRUPT_STATUSES:
        code = -status if status < 0 else status - 128
        return "Ctrl-C" if code == signal.SIGINT else signal.Signals(code).name
    return ""


def crash_line(data: Mapping[str, Any]) -> str:
    """One line on an exception's event: "crashed: ModuleNotFoundError: ... (train.py:3); pip install einops"; empty
    where nothing is known but the exception itself."""
    known = known_error(data)
    clue = known.clue if known else package_clue(data)
    if clue is None:
        return ""
    event = Event(0, -1, -1, 0.0, "exception", data)
    return crash_words(_exception_text(event)[0], clue.why, clue.remedies)


def crash_words(says: str, why: str, remedies: Iterable[str]) -> str:
    """What is known of a crash, in one line."""
    known = [t("crashed: {error}", error=says), why]
    if tries := t(" or ").join(remedies):
        known.append(t("try: {tries}", tries=tries))
    return t("; ").join(filter(None, known))


def crash(history: History) -> Iterator[Finding]:
    meta = history.record.meta
    status = status_of(meta)
    event = _exception(history)
    if interrupted(history) or (status in (None, 0) and event is None):
        return
    step = max(event.step if event and event.step >= 0 else 0, 0)
    if event is None:
        step = max(history.steps - 1, 0)
    says, evidence = _exception_text(event) if event else _status_text(status or 0, meta)
    last = max(step, history.steps - 1)
    track = history.lead or next(iter(history.tracks), Track(Nothing()))
    causes, remedies = explain(Case("crash", history, track, step, last), TROUBLE.causes)
    survived = status == 0
    if survived:
        says = t("{says}, in a child process; the script itself ended well", says=says)
    yield Finding(
        "crash",
        "warning" if survived else "fatal" if event or (status or 0) < 0 else "serious",
        step,
        last,
        says,
        (_place(event),) if event else (),
        {**evidence, "status": status},
        causes,
        remedies,
    )


def _exception(history: History) -> Event | None:
    """The exception that ended the script: of several processes the one that came first."""
    return next(iter(history.events_of("exception")), None)


def _exception_text(event: Event) -> tuple[str, dict[str, Any]]:
    data = event.data
    name, message = str(data.get("type", "an exception")), " ".join(telling(str(data.get("message", ""))).split())
    place = f"{data['file']}:{data['line']}" if data.get("file") else ""
    source = " ".join(str(data.get("source") or "").split())
    where = f" ({place}: {shortened(source, MAX_SOURCE)})" if place and source else f" ({place})" if place else ""
    text = f"{name}: {shortened(message, MAX_MESSAGE)}" if message else name
    keep = ("type", "message", "file", "line", "function", "source")
    return f"{text}{where}", {key: data[key] for key in keep if key in data}


def _status_text(status: int, meta: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if status >= 0:
        return t("the script ended with status {status}; no exception was seen", status=status), {}
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = t("signal {code}", code=-status)
    memory = meta.get("max_rss_bytes")
    says = t("killed by {name}", name=name)
    if isinstance(memory, int | float) and memory:
        says = t("killed by {name}, having used up to {memory} GB of memory", name=name, memory=f"{memory / 1e9:.1f}")
    if status == -signal.SIGKILL and memory_share(meta) <= MUCH_MEMORY:
        says = t("{says}; SIGKILL comes by hand, from a scheduler, or from the kernel when memory runs out", says=says)
    return says, {"signal": name, "max_rss_bytes": memory}


def _place(event: Event) -> dict[str, Any]:
    data = event.data
    place = {key: data[key] for key in ("file", "line", "function") if data.get(key) is not None}
    return {**place, "rank": event.process} if event.process > 0 else place


TROUBLE = Trouble(
    name="crash",
    summary="The script ended by an exception, by a signal, or with a status that is not 0.",
    measures=(
        "The exception that nothing caught (type, message, and the last line of the script's own that led to it), else "
        "the exit status or the signal."
    ),
    hurts="What was not saved is lost. The record up to then is on disk.",
    is_not=(
        "Ctrl-C, SIGTERM and SIGHUP: the run was interrupted.",
        "An exception that the script caught.",
        "An exception that ended a child process only, while the script itself ended with status 0: a warning.",
    ),
    threshold="None: an uncaught exception, a signal or a status other than 0.",
    causes=(
        "missing-package",
        "old-spelling",
        "other-framework",
        "shape-mismatch",
        "type-mismatch",
        "labels-invalid",
        "index-out-of-range",
        "device-mismatch",
        "out-of-memory",
        "invalid-operation",
        "detached-graph",
        "spent-graph",
        "traced-value",
    ),
    remedies=(
        "Where the error is a known one, the line as it should read is given, or the line that installs a missing "
        "package. Else the traceback says where."
    ),
    rule=crash,
    whole_run=True,
)
