"""Explain a trouble, a cause or a policy."""

from __future__ import annotations

import difflib

from trimtab._errors import TrimtabError
from trimtab.findings import CAUSES, TROUBLES, Trouble
from trimtab.policies import POLICIES, Explained, explained, name_of


class UnknownNameError(TrimtabError):
    """No trouble, no cause and no policy has this name."""


def explain(name: str) -> Trouble | Explained | str:
    """The Trouble or policy of this name, or a cause's paragraph. Raises UnknownNameError, with the nearest names."""
    policy = name_of(name.lower())
    if policy in POLICIES:
        return explained(policy)
    word = name.strip().lower().replace("_", "-").replace(" ", "-")
    for trouble in TROUBLES:
        if trouble.name == word:
            return trouble
    if word in CAUSES:
        return CAUSES[word]
    names = [trouble.name for trouble in TROUBLES] + list(CAUSES) + list(POLICIES)
    near = difflib.get_close_matches(word, names, 3, 0.62) or [n for n in names if word and word in n][:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "`trimtab explain` lists all of them"
    raise UnknownNameError(f"{name!r} is no trouble, no cause and no policy; {hint}")
