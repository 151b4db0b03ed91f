"""stalled-loss: the loss ends no better than chance, and stands still."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._evidence import HEALTHY_UPDATE, step_causes, update_ratios
from ._finding import Finding
from ._history import History, Track
from ._levels import noise
from ._lost import lost
from ._progress import CLEAR_GAIN, ENOUGH_STEPS, NO_GAIN, PLATEAU_STEPS, Progress, progress
from ._signal import signal
from ._text import number
from ._trouble import Trouble

BLOCKS = 8
CLEAR = 4.0  # standard errors of a block
MOST = 0.75  # of the blocks


def stalled_loss(history: History) -> Iterator[Finding]:
    track = history.lead
    if history.live or track is None or lost(history, track) is not None:
        return  # a loss that is lost does not stand still
    found = progress(history)
    if found.state == "constant" and found.last == 0.0:
        return  # nothing to learn, or a loss that means nothing: the data cannot tell
    if found.state not in ("stuck", "plateau", "constant"):
        return
    pairs = list(step_causes(track))
    if found.state == "plateau" and not pairs and not _weak_signal(track):
        return  # nothing speaks for a stall but that it has not gone on yet
    yield Finding(
        "stalled-loss",
        "serious" if found.by_chance or found.state == "constant" else "warning",
        _since(track, found),
        track.last_step,
        _says(track, found, known=bool(pairs)),
        (history.place(track),) if history.several else (),
        {
            "loss": found.last,
            "reference": found.reference,
            "chance_known": found.by_chance,
            "gain": found.gain,
            "threshold": NO_GAIN,
        },
        tuple(cause for cause, _ in pairs),
        tuple(dict.fromkeys(remedy for _, remedies in pairs for remedy in remedies)) or _to_try(track, bool(pairs)),
    )


def _says(track: Track, found: Progress, *, known: bool) -> str:
    reference = f"chance is {number(found.reference)}" if found.by_chance else f"it began at {number(found.first)}"
    verb = "was the same at every step" if found.state == "constant" else "stands still"
    none = "" if known or _weak_signal(track) else "; no cause was found in the record"
    return f"the loss {verb} at {number(found.last)}; {reference}{none}"


def _weak_signal(track: Track) -> bool:
    found = signal(track)
    return found is not None and found.worst is not None


def _since(track: Track, found: Progress) -> int:
    """The step at which the standing still began: from there on the blocks of the loss are, but for a few, where it
    ended."""
    values = track.finite_loss
    blocks = np.array_split(np.arange(len(values)), min(BLOCKS, len(values)))
    spread = CLEAR * noise(values) / np.sqrt(len(values) / len(blocks))
    near = max(NO_GAIN * abs(found.reference), float(spread))
    there = np.array([abs(float(np.median(values[rows])) - found.last) <= near for rows in blocks])
    first = next((i for i in range(len(blocks)) if there[i] and there[i:].mean() >= MOST), len(blocks) - 1)
    return int(track.step[track.finite_rows[blocks[first][0]]])


def _to_try(track: Track, known: bool) -> tuple[str, ...]:
    """A longer step where the steps are small, a shorter one where they are not; both where they were not measured."""
    if known:
        return ()
    ratios = update_ratios(track)
    if not ratios:
        return ("lr*10", "lr*0.1")
    return ("lr*10",) if float(np.median(ratios)) < HEALTHY_UPDATE else ("lr*0.1",)


TROUBLE = Trouble(
    name="stalled-loss",
    summary="The loss ends no better than chance, and stands still.",
    measures="The loss of the last fifth of the run (the median of the means of eight blocks) against chance, the loss "
    "of the best constant answer on the run's own targets: the entropy of the classes, the variance of a regression's "
    "targets. Where chance is not known, against the loss's own start, and said so. Whether it still falls: "
    "Mann-Kendall's test on the second half.",
    hurts="The model answers the same, or as good as the same, whatever it is shown.",
    is_not=(
        "A run that is still falling when it ends: too few steps to judge.",
        f"A run of fewer than {ENOUGH_STEPS} steps, which cannot prove that a loss stands still.",
        f"A run of fewer than {PLATEAU_STEPS:,} steps whose loss fell clearly from its start and rests near chance, "
        "where nothing else speaks for a stall: many a loss rests there, and then goes on.",
        "Data with so little signal that a few percent are all there is: between "
        f"{NO_GAIN:.0%} and {CLEAR_GAIN:.0%} better than chance trimtab does not judge.",
        "A loss that may be negative and hovers (policy gradients), the losses of a GAN: these say nothing "
        "of progress.",
    ),
    threshold=f"Less than {NO_GAIN:.0%} better than chance, and flat (Mann-Kendall z above -2.6, p > "
    "0.005). Both shares "
    "are to be calibrated on the corpus.",
    causes=(
        "learning-rate-too-low",
        "learning-rate-too-high",
        "dying-activation",
        "missing-zero-grad",
        "detached-graph",
        "output-activation-mismatch",
        "uninformative-data",
    ),
    remedies="What the evidence points to: lr*10 where a step moves the weights by less than a "
    "ten-thousandth of what it "
    "takes, lr*0.1 where it moves them by a tenth of their size.",
    rule=stalled_loss,
    sources=("Mann 1945, Econometrica 13; Kendall 1975, Rank Correlation Methods",),
    leads_to=frozenset(),
)
