"""Explain a trouble or a cause."""

from __future__ import annotations

import difflib

from trimtab._errors import TrimtabError
from trimtab.findings import CAUSES, TROUBLES, Trouble


class UnknownNameError(TrimtabError):
    """No trouble and no cause has this name."""


def explain(name: str) -> Trouble | str:
    """The Trouble of this name, or a cause's paragraph. Raises UnknownNameError, with the nearest names."""
    word = name.strip().lower().replace("_", "-").replace(" ", "-")
    for trouble in TROUBLES:
        if trouble.name == word:
            return trouble
    if word in CAUSES:
        return CAUSES[word]
    names = [trouble.name for trouble in TROUBLES] + list(CAUSES)
    near = difflib.get_close_matches(word, names, 3, 0.62) or [n for n in names if word and word in n][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "`trimtab explain` lists all of them"
    raise UnknownNameError(f"{name!r} is no trouble and no cause; {hint}")
