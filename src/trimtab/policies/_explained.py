"""What a policy does, as its maker's docstring says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Explained:
    """`summary`: its effect in a sentence. `text`: formula, units, source, defaults, departures. `settings`: with their
    defaults, None where there is none."""

    name: str
    summary: str
    text: str
    settings: dict[str, float | None]


def explain_maker(name: str, maker: Callable[..., Any]) -> Explained:
    """Of the maker of the policy `name`."""
    summary, _, text = (inspect.getdoc(maker) or "").partition("\n")
    defaults = {key: p.default for key, p in inspect.signature(maker).parameters.items()}
    settings = {key: None if value is inspect.Parameter.empty else value for key, value in defaults.items()}
    return Explained(name, summary, text.strip("\n"), settings)
