"""The causes of troubles. A file holds causes of one sort: their paragraphs, and how each shows in a record.

A trouble's rule asks `explain` which of the causes on its page the record has evidence for. To add a cause: its
`KnownCause` in the file of its sort, rows in tests/findings/causes.
"""

from __future__ import annotations

from collections.abc import Iterable

from .._finding import Cause
from . import (
    _activations,
    _capacity,
    _crashes,
    _data,
    _initial_weights,
    _labels,
    _learning_rate,
    _loss,
    _numbers,
    _process,
    _ranks,
    _wiring,
)
from ._cause import EXACT as EXACT
from ._cause import STRONG as STRONG
from ._cause import WEAK as WEAK
from ._cause import Case as Case
from ._cause import Clue as Clue
from ._cause import KnownCause as KnownCause
from ._cause import explained

KNOWN: dict[str, KnownCause] = {
    cause.name: cause
    for cause in (
        *_learning_rate.CAUSES,
        *_initial_weights.CAUSES,
        *_activations.CAUSES,
        *_data.CAUSES,
        *_labels.CAUSES,
        *_loss.CAUSES,
        *_wiring.CAUSES,
        *_numbers.CAUSES,
        *_capacity.CAUSES,
        *_ranks.CAUSES,
        *_process.CAUSES,
        *_crashes.CAUSES,
    )
}


MISTAKES = (
    "missing-zero-grad",
    "output-activation-mismatch",
    "loss-mismatch",
    "labels-invalid",
    "constant-initial-weights",
    "missing-activation",
)
"""What a record can prove to be wrong in the script, and what makes a training worse whatever it shows first."""
UNRELATED = ("crash", "overfitting", "rank-divergence")
"""Troubles that no such mistake explains."""


def explain(case: Case, names: Iterable[str], *, at_least: int = WEAK) -> tuple[tuple[Cause, ...], tuple[str, ...]]:
    """The causes among `names` that the record speaks for, and MISTAKES that it proves: the likeliest first, and what
    to try."""
    listed = tuple(names)
    proven = () if case.trouble in UNRELATED else tuple(name for name in MISTAKES if name not in listed)
    return explained(case, _known(listed), at_least, proven=_known(proven))


def _known(names: Iterable[str]) -> tuple[KnownCause, ...]:
    return tuple(KNOWN[name] for name in names)
