"""What a cause is: what people are told of it, and how it shows in a record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._finding import Cause
from .._history import Array, Columns, History, Track

EXACT = 3  # the record proves it: no reading of it without this cause
STRONG = 2  # a measured quantity far outside of what healthy runs show
WEAK = 1  # it fits, and nothing measured speaks for anything else


@dataclass(frozen=True)
class Case:
    """The trouble to be explained: of which kind, on which track, in which steps (both included)."""

    trouble: str
    history: History
    track: Track
    first_step: int
    last_step: int


def _no_columns() -> Columns:
    return defaultdict(lambda: np.empty(0))


@dataclass(frozen=True)
class Nothing:
    """The series of a script that ended before its first step: every column is empty."""

    process: int = 0
    optimizer: int = 0
    steps: Columns = field(default_factory=_no_columns)
    losses: Columns = field(default_factory=_no_columns)
    sampled_steps: Array = field(default_factory=lambda: np.empty(0))
    info: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self, step: int) -> Columns:
        return {}

    def modules(self, step: int) -> Columns:
        return {}


@dataclass(frozen=True)
class Clue:
    """What the record shows for a cause: a sentence with its numbers, how strong that is, and what to try."""

    why: str
    strength: int
    remedies: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownCause:
    """One cause. `text` is its paragraph for people; `look` finds the clue in a record, None where there is none."""

    name: str
    text: str
    look: Callable[[Case], Clue | None]


def explained(
    case: Case, known: tuple[KnownCause, ...], at_least: int = WEAK, *, proven: tuple[KnownCause, ...] = ()
) -> tuple[tuple[Cause, ...], tuple[str, ...]]:
    """The causes of which the record shows a clue, the strongest first (ties in the order given), with what to try.

    Of those in `proven` only an exact clue counts. A weak clue counts only where there is no better one. Clues weaker
    than `at_least` are left out. What is proven is to be mended first: where a clue is exact, only such clues say what
    to try.
    """
    clues = [(cause, clue) for cause in proven if (clue := cause.look(case)) is not None and clue.strength == EXACT]
    clues += [(cause, clue) for cause in known if (clue := cause.look(case)) is not None]
    strongest = max((clue.strength for _, clue in clues), default=WEAK)
    least = max(at_least, min(strongest, STRONG))
    kept = sorted((pair for pair in clues if pair[1].strength >= least), key=lambda pair: -pair[1].strength)
    causes = tuple(Cause(cause.name, clue.why) for cause, clue in kept)
    telling = [clue for _, clue in kept if clue.strength >= strongest or strongest < EXACT]
    return causes, tuple(dict.fromkeys(remedy for clue in telling for remedy in clue.remedies))
