"""Where in the user's own files something happened. Standard library only."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from traceback import FrameSummary
    from typing import Any

_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_PACKAGES = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
# TensorFlow writes the code of a function that it traces into such a file.
_GENERATED = "__autograph_generated_file"
MAX_LINES = 10
MAX_SOURCE = 1000


def users_place(frames: Sequence[FrameSummary]) -> dict[str, Any]:
    """`file`, `line`, `function` and `source` of the innermost line of the user's, `source` what stands there.

    A file is preferred to code that has none (`exec`, `python -c`), and that to a library's line. The outermost frame
    comes first, as in a traceback.
    """
    users = [frame for frame in frames if is_users(frame.filename)]
    filed = [frame for frame in users if not frame.filename.startswith("<")]
    found = next(iter((filed or users or list(frames))[-1:]), None)
    return place(found) if found is not None else {"file": "", "line": None, "function": "", "source": ""}


def place(frame: FrameSummary) -> dict[str, Any]:
    return {"file": frame.filename, "line": frame.lineno, "function": frame.name, "source": _source(frame)}


def is_users(file: str) -> bool:
    """Neither Python's own file, nor one of an installed package, nor ours."""
    if any(name in file for name in _PACKAGES) or os.path.basename(file).startswith(_GENERATED):
        return False
    return not file.startswith(("<frozen ", _LIBRARY, _OURS))


def _source(frame: FrameSummary) -> str:
    """The lines of the expression that was being evaluated, all of them where Python knows them (from 3.11 on)."""
    from linecache import getline
    from textwrap import dedent

    first = frame.lineno or 0
    last = getattr(frame, "end_lineno", None) or first
    lines = [getline(frame.filename, number) for number in range(first, min(last, first + MAX_LINES - 1) + 1)]
    return (dedent("".join(lines)) or frame.line or "").strip()[:MAX_SOURCE]
