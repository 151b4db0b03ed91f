"""crash: the script ended by an exception, a signal or with a status that is not 0."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from ._finding import Cause, Finding
from ._history import Event, History
from ._trouble import Trouble

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPT_STATUSES = frozenset(128 + s for s in INTERRUPTS) | frozenset(-s for s in INTERRUPTS)
MUCH_MEMORY = 0.8  # share of the machine's memory

PACKAGES = {"cv2": "opencv-python", "sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow",
            "yaml": "pyyaml"}  # fmt: skip
"""Modules whose package has another name."""

MESSAGES = (
    (
        r"CUDA out of memory|OutOfMemoryError|can't allocate memory|Cannot allocate memory",
        "out-of-memory",
        "memory ran out: a smaller batch needs less",
    ),
    (
        r"Target \d+ is out of bounds|Assertion `t >= 0|device-side assert",
        "labels-invalid",
        "a label lies outside of the classes that the model knows",
    ),
    (
        r"contains NaN|contains inf|must be finite|not finite|nan or inf",
        "invalid-operation",
        "the script refused a NaN or an infinity",
    ),
)


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
        number = -status if status < 0 else status - 128
        return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return ""


def crash_line(data: Mapping[str, Any]) -> str:
    """One line on an exception's event: "crashed: ModuleNotFoundError: ... (train.py:3); pip install einops"."""
    event = Event(0, -1, -1, 0.0, "exception", data)
    return "; ".join((f"crashed: {_exception_text(event)[0]}", *_causes(event, 1, {})[1]))


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
    causes, remedies = _causes(event, status, meta)
    survived = status == 0
    yield Finding(
        "crash",
        "warning" if survived else "fatal" if event or (status or 0) < 0 else "serious",
        step,
        max(step, history.steps - 1),
        says + (", in a child process; the script itself ended well" if survived else ""),
        (_place(event),) if event else (),
        {**evidence, "status": status},
        tuple(causes),
        tuple(remedies),
    )


def _exception(history: History) -> Event | None:
    """The exception that ended the script: of several processes the one that came first."""
    return next(iter(history.events_of("exception")), None)


def _exception_text(event: Event) -> tuple[str, dict[str, Any]]:
    data = event.data
    name, message = str(data.get("type", "an exception")), " ".join(str(data.get("message", "")).split())
    place = f" ({data['file']}:{data['line']})" if data.get("file") else ""
    text = f"{name}: {message[:300]}" if message else name
    keep = ("type", "message", "file", "line", "function")
    return f"{text}{place}", {key: data[key] for key in keep if key in data}


def _status_text(status: int, meta: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if status >= 0:
        return f"the script ended with status {status}; no exception was seen", {}
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    memory = meta.get("max_rss_bytes")
    used = f", having used up to {memory / 1e9:.1f} GB of memory" if isinstance(memory, int | float) and memory else ""
    if status == -signal.SIGKILL and _memory_share(meta) <= MUCH_MEMORY:
        used += "; SIGKILL comes by hand, from a scheduler, or from the kernel when memory runs out"
    return f"killed by {name}{used}", {"signal": name, "max_rss_bytes": memory}


def _place(event: Event) -> dict[str, Any]:
    data = event.data
    place = {key: data[key] for key in ("file", "line", "function") if data.get(key) is not None}
    return {**place, "rank": event.process} if event.process > 0 else place


def _causes(event: Event | None, status: int | None, meta: Mapping[str, Any]) -> tuple[list[Cause], list[str]]:
    if event is None:
        share = _memory_share(meta)
        if status == -signal.SIGKILL and share > MUCH_MEMORY:
            return [Cause("out-of-memory", f"the process had used {share:.0%} of the machine's memory")], []
        return [], []
    data = event.data
    if str(data.get("type")) in ("ModuleNotFoundError",):
        match = re.search(r"No module named '([\w.]+)'", str(data.get("message", "")))
        name = match[1].split(".")[0] if match else ""
        package = PACKAGES.get(name, name)
        return [Cause("missing-package", f"the package {name} is not installed here")], [
            f"pip install {package}"
        ] if name else []
    text = f"{data.get('type')}: {data.get('message')}"
    return [Cause(cause, why) for pattern, cause, why in MESSAGES if re.search(pattern, text)][:1], []


def _memory_share(meta: Mapping[str, Any]) -> float:
    """Of the machine's memory that the process had used at most; 0 where it is not known."""
    used, total = meta.get("max_rss_bytes"), meta.get("memory_bytes")
    if not isinstance(used, int | float) or not isinstance(total, int | float) or total <= 0:
        return 0.0
    return float(used) / float(total)


TROUBLE = Trouble(
    name="crash",
    summary="The script ended by an exception, by a signal, or with a status that is not 0.",
    measures="The exception that nothing caught (type, message, file and line), else the exit status or the signal.",
    hurts="What was not saved is lost. The record up to then is on disk.",
    is_not=("Ctrl-C, SIGTERM and SIGHUP: the run was interrupted.", "An exception that the script caught."),
    threshold="None.",
    causes=("missing-package", "out-of-memory", "labels-invalid", "invalid-operation"),
    remedies="The traceback says where. For a missing package the line that installs it.",
    rule=crash,
    whole_run=True,
)
