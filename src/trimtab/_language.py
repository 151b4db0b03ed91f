"""The language in which people are spoken to: English, or Chinese where TRIMTAB_LANG or the locale asks for it.

`t` is called where a sentence is made, with the English template: English is the key of the catalogue. What is
written to disk (verdict.json, the record) is always English.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

LANGUAGES = ("en", "zh")
_spoken: ContextVar[str] = ContextVar("trimtab_language", default="en")


def t(template: str, /, **fields: object) -> str:
    """`template` in the language spoken, with its {fields} filled in."""
    if _spoken.get() == "zh":
        from ._chinese import CHINESE

        template = CHINESE.get(template, template)
    return template.format(**fields)


def counted(count: int, noun: str) -> str:
    """ "1 step", "1,024 steps"; in Chinese the noun with its measure word."""
    if _spoken.get() == "zh":
        from ._chinese import MEASURES

        return f"{count:,} {MEASURES.get(noun, noun)}"
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def described(name: str, english: str) -> str:
    """The line on a trouble, a cause or a thing that could not be seen, by its name; `english` says it in English."""
    if _spoken.get() == "zh":
        from ._chinese import NAMES, UNSEEN

        return NAMES.get(name) or UNSEEN.get(name, english)
    return english


def spoken() -> str:
    """The language that `t` speaks now."""
    return _spoken.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Within this block `t` speaks `language`, one of LANGUAGES."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


class StreamLike(Protocol):
    @property
    def encoding(self) -> str | None: ...


def users_language(stream: StreamLike | None = None) -> str:
    """TRIMTAB_LANG if it is set, else the locale's language; "en" where we do not speak it, or `stream` cannot."""
    names = ("TRIMTAB_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    wanted = next((value for name in names if (value := os.environ.get(name))), "en")
    language = wanted.replace("-", "_").split("_")[0].split(".")[0].lower()
    return language if language in LANGUAGES and (language == "en" or _can_write_chinese(stream)) else "en"


def _can_write_chinese(stream: StreamLike | None) -> bool:
    encoding = getattr(stream, "encoding", None)
    try:
        "中文".encode(encoding or "utf-8")
    except (LookupError, UnicodeError):
        return False
    return True
