"""What the user may see and keep of an exception: its traceback without trimtab's own frames."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from traceback import FrameSummary
    from types import TracebackType
    from typing import Any

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_IMPORT_SYSTEM = "<frozen importlib._bootstrap"
# Of a long message what is kept of its beginning and of its end: TensorFlow names the operation first, the error last.
_HEAD, _TAIL = 1000, 3000


def hide_own_frames(error: BaseException) -> None:
    """Take the frames of trimtab's files out of an exception's traceback and out of those it came from."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = _without_own(one.__traceback__)
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def describe_exception(error: BaseException) -> dict[str, Any]:
    """Type, message, place and traceback, for the record.

    The place is the last line of the user's own, with its source; `raised_in` ("linear.py:forward") says which function
    of which file raised.
    """
    from traceback import extract_tb, format_exception

    from .._places import users_place

    frames, message = extract_tb(error.__traceback__), str(error)
    return {
        "type": type(error).__qualname__,
        "message": _shortened(message),
        **users_place([*frames, *_traced(message)]),
        "raised_in": f"{os.path.basename(frames[-1].filename)}:{frames[-1].name}" if frames else "",
        "traceback": "".join(format_exception(type(error), error, error.__traceback__))[-20000:],
    }


def _traced(message: str) -> list[FrameSummary]:
    """The lines of a function that TensorFlow was tracing: its traceback holds generated code, its message the true."""
    if not message.startswith("in user code:"):
        return []
    import re
    from traceback import FrameSummary

    found = re.findall(r'(?m)^    File "(.+)", line (\d+), in (\S+)', message)
    return [FrameSummary(file, int(line), name, lookup_line=False) for file, line, name in found]


def _shortened(message: str) -> str:
    if len(message) <= _HEAD + _TAIL:
        return message
    return f"{message[:_HEAD]}\n...\n{message[-_TAIL:]}"


def _without_own(first: TracebackType | None) -> TracebackType | None:
    """The same frames, linked past trimtab's; the import system's frames beside ours go with them."""
    frames = []
    while first is not None:
        frames.append(first)
        first = first.tb_next
    ours = [_file(frame).startswith(_OURS) for frame in frames]
    if not any(ours):
        return frames[0] if frames else None
    hidden = list(ours)
    for i, own in enumerate(ours):
        if own and os.sep + "launch" + os.sep + "_imports" in _file(frames[i]):
            hidden[_run_start(frames, i) : _run_end(frames, i)] = [True] * (_run_end(frames, i) - _run_start(frames, i))
    kept = [frame for frame, hide in zip(frames, hidden, strict=True) if not hide]
    for frame, following in zip(kept, [*kept[1:], None], strict=True):
        frame.tb_next = following
    return kept[0] if kept else None


def _run_start(frames: list[TracebackType], i: int) -> int:
    while i > 0 and _file(frames[i - 1]).startswith(_IMPORT_SYSTEM):
        i -= 1
    return i


def _run_end(frames: list[TracebackType], i: int) -> int:
    i += 1
    while i < len(frames) and _file(frames[i]).startswith(_IMPORT_SYSTEM):
        i += 1
    return i


def _file(frame: TracebackType) -> str:
    return frame.tb_frame.f_code.co_filename
