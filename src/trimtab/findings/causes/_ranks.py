"""The cause that lies between the processes of one job."""

from __future__ import annotations

import numpy as np

from ..._language import t
from .._history import Floats, Track
from .._text import listed, number
from ._cause import EXACT, Case, Clue, KnownCause

APART = 1e-4  # relative; gradients that were averaged, and rates of one schedule, are equal to the last digit


def _unsynchronised(case: Case) -> Clue | None:
    """The ranks' gradients differ at the first step, while their weights are still equal; or their learning rates do,
    by the time that the weights part."""
    ranks = [track for track in case.history.tracks if track.optimizer == case.track.optimizer]
    for other in ranks[1:]:
        if (found := _gradients(ranks[0], other) or _rates(ranks[0], other, case.first_step)) is not None:
            return found
    return None


def _gradients(one: Track, other: Track) -> Clue | None:
    steps, here, there = _common(one, other, "grad_norm_raw")
    if not len(steps) or not _apart(here[:1], there[:1]).any():
        return None
    differing, alike = _tensors(one, other, int(steps[0]))
    if differing and alike:
        why = t("the gradients of {tensors} are not averaged over the ranks, others are", tensors=listed(differing))
        return Clue(why, EXACT)
    why = t(
        "at step {step} the gradient has a norm of {here} on rank {first} and of {there} on rank {second}: it was not "
        "averaged over the ranks",
        step=int(steps[0]),
        here=number(float(here[0])),
        there=number(float(there[0])),
        first=one.process,
        second=other.process,
    )
    return Clue(why, EXACT)


def _rates(one: Track, other: Track, until: int) -> Clue | None:
    steps, here, there = _common(one, other, "lr")
    rows = np.flatnonzero(_apart(here, there) & (steps <= until))
    if not len(rows):
        return None
    why = t(
        "at step {step} the learning rate is {low} on rank {first} and {high} on rank {second}",
        step=int(steps[rows[0]]),
        low=number(float(here[rows[0]])),
        high=number(float(there[rows[0]])),
        first=one.process,
        second=other.process,
    )
    return Clue(why, EXACT)


def _common(one: Track, other: Track, column: str) -> tuple[np.ndarray, Floats, Floats]:
    """Steps that both ranks took, and the column on each."""
    steps, i, j = np.intersect1d(one.step, other.step, return_indices=True)
    mine, theirs = (np.asarray(track.columns[column], dtype=np.float64) for track in (one, other))
    return steps, mine[i], theirs[j]


def _apart(here: Floats, there: Floats) -> np.ndarray:
    """Where both are known and differ."""
    known = np.isfinite(here) & np.isfinite(there)
    return np.asarray(known & (np.abs(here - there) > APART * np.maximum(np.abs(here), np.abs(there))))


def _tensors(one: Track, other: Track, step: int) -> tuple[list[str], list[str]]:
    """Tensors whose gradients differ between the ranks, and those whose gradients do not."""
    norms = [
        dict(zip(map(str, rows.get("tensor", ())), np.asarray(rows.get("grad_norm", ()), np.float64), strict=False))
        for rows in (track.series.tensors(step) for track in (one, other))
    ]
    both = [name for name in norms[0] if name in norms[1]]
    differ = {name: bool(_apart(np.array([norms[0][name]]), np.array([norms[1][name]]))[0]) for name in both}
    return [name for name in both if differ[name]], [name for name in both if not differ[name]]


CAUSES = (
    KnownCause(
        "unsynchronised-ranks",
        "The ranks do not take the same step: their gradients are not averaged, or not all of them are (a layer that "
        "was added after the model was wrapped), or each rank has a learning rate of its own. Wrap the whole model in "
        "DistributedDataParallel, and let every rank follow one schedule.",
        _unsynchronised,
    ),
)
