"""What one file of this folder declares: a trouble, how it is recognised, and what people are told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ._finding import Finding
from ._history import History

Rule = Callable[[History], Iterable[Finding]]


@dataclass(frozen=True)
class Trouble:
    """A trouble and its page (`trimtab explain NAME` and docs/troubles/NAME.md are made from it).

    `rule` maps a History to findings of this kind, by the same code while the training runs and
    after it. `leads_to`: troubles that are listed under this one when they come after it.
    `whole_run`: judged once per run, not once per model that it trains.
    """

    name: str
    summary: str
    measures: str
    hurts: str
    is_not: tuple[str, ...]
    threshold: str
    causes: tuple[str, ...]
    remedies: str
    rule: Rule
    sources: tuple[str, ...] = ()
    leads_to: frozenset[str] = frozenset()
    whole_run: bool = False
