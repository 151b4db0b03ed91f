"""Causes outside of the training: the machine, and what is installed on it."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any

from ..._language import t
from .._history import History
from ._cause import EXACT, STRONG, Case, Clue, KnownCause

MUCH_MEMORY = 0.8  # share of the machine's memory
NO_MEMORY = r"out of memory|OutOfMemoryError|can't allocate memory|Cannot allocate memory|MemoryError"
NO_MODULE = r"No module named '(\w+)'"  # a dotted name is missing in a package that is there

PACKAGES = {"cv2": "opencv-python", "sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow",
            "yaml": "pyyaml"}  # fmt: skip
"""Modules whose package has another name."""


def exception_of(history: History) -> Mapping[str, Any]:
    """The exception that ended the script, of several processes the one that came first; empty where there is none."""
    event = next(iter(history.events_of("exception")), None)
    return event.data if event else {}


def exception_text(history: History) -> str:
    data = exception_of(history)
    return f"{data.get('type')}: {data.get('message')}" if data else ""


def memory_share(meta: Mapping[str, Any]) -> float:
    """Of the machine's memory that the process had used at most; 0 where it is not known."""
    used, total = meta.get("max_rss_bytes"), meta.get("memory_bytes")
    if not isinstance(used, int | float) or not isinstance(total, int | float) or total <= 0:
        return 0.0
    return float(used) / float(total)


def package_clue(exception: Mapping[str, Any]) -> Clue | None:
    """The package that an import did not find, with the line that installs it."""
    found = re.search(NO_MODULE, str(exception.get("message", "")))
    if str(exception.get("type")) != "ModuleNotFoundError" or not found:
        return None
    name = found[1]
    why = t("the package {name} is not installed here", name=name)
    return Clue(why, EXACT, (f"pip install {PACKAGES.get(name, name)}",))


def _missing_package(case: Case) -> Clue | None:
    return package_clue(exception_of(case.history))


def _out_of_memory(case: Case) -> Clue | None:
    text, meta = exception_text(case.history), case.history.record.meta
    if re.search(NO_MEMORY, text):
        return Clue(t("memory ran out: a smaller batch needs less"), EXACT)
    share = memory_share(meta)
    if text or meta.get("status") != -signal.SIGKILL or share <= MUCH_MEMORY:
        return None
    return Clue(t("the process had used {share} of the machine's memory", share=f"{share:.0%}"), STRONG)


CAUSES = (
    KnownCause(
        "out-of-memory",
        "The process used more memory than there is, or than its device has. Try a smaller batch.",
        _out_of_memory,
    ),
    KnownCause(
        "missing-package",
        "The script imports a package that is not installed in this environment.",
        _missing_package,
    ),
)
