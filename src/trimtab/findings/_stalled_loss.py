"""stalled-loss: the loss ends no better than chance, and stands still."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._language import t
from ._evidence import HEALTHY_UPDATE, update_ratios
from ._finding import Finding
from ._history import History, Track
from ._levels import noise
from ._lost import lost
from ._progress import CLEAR_GAIN, ENOUGH_STEPS, NO_GAIN, PLATEAU_STEPS, Progress, progress
from ._signal import signal
from ._text import number
from ._trouble import Trouble
from .causes import STRONG, WEAK, Case, explain

BLOCKS = 8
CLEAR = 4.0  # standard errors of a block
MOST = 0.75  # of the blocks


MILD = (
    "uninformative-data",
    "learning-rate-too-low",
    "weak-optimizer",
    "too-few-steps",
    "frozen-parameters",
    "dying-activation",
    "batch-too-small",
)
"""Causes that do not make a loss a little under chance a stall: data that say little end there too."""


def stalled_loss(history: History) -> Iterator[Finding]:
    track = history.lead
    if history.live or track is None or lost(history, track) is not None:
        return  # a loss that is lost does not stand still
    found = progress(history)
    if found.state == "constant" and found.last == 0.0:
        return  # nothing to learn, or a loss that means nothing: the data cannot tell
    weak = found.state == "weak"
    if found.state not in ("stuck", "plateau", "constant", "weak") or (weak and not found.by_chance):
        return
    since = _since(track, found)
    case = Case("stalled-loss", history, track, since, track.last_step)
    names = [name for name in TROUBLE.causes if not weak or name not in MILD]
    causes, remedies = explain(case, names, at_least=STRONG if found.state in ("plateau", "weak") else WEAK)
    if found.state in ("plateau", "weak") and not causes and not (found.state == "plateau" and _weak_signal(track)):
        return  # nothing speaks for a stall but that it has not gone on yet, or that the data say little
    known = found.by_chance or found.state == "constant"
    yield Finding(
        "stalled-loss",
        "serious" if known and not weak else "warning",
        since,
        track.last_step,
        _says(track, found, known=bool(causes)),
        (history.place(track),) if history.several else (),
        {
            "loss": found.last,
            "reference": found.reference,
            "chance_known": found.by_chance,
            "gain": found.gain,
            "threshold": NO_GAIN,
        },
        causes,
        remedies or _to_try(track, bool(causes)),
    )


def _says(track: Track, found: Progress, *, known: bool) -> str:
    last = number(found.last)
    says = (
        t("the loss was the same at every step, {last}", last=last)
        if found.state == "constant"
        else t("the loss stands still at {last}", last=last)
    )
    if found.by_chance:
        says = t("{says}; chance is {chance}", says=says, chance=number(found.reference))
    else:
        says = t("{says}; it began at {first}", says=says, first=number(found.first))
    return says if known or _weak_signal(track) else t("{says}; no cause was found in the record", says=says)


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
    hurts="The model has learned nothing from its inputs: a constant answer does as well.",
    is_not=(
        "A run that is still falling when it ends: too few steps to judge.",
        f"A run of fewer than {ENOUGH_STEPS} steps, which cannot prove that a loss stands still.",
        f"A run of fewer than {PLATEAU_STEPS:,} steps whose loss fell clearly from its start and rests near chance, "
        "where nothing else speaks for a stall, such as one answer for every input: many a loss rests there, and then "
        "goes on.",
        f"Data with so little signal that a few percent are all there is: between {NO_GAIN:.0%} and {CLEAR_GAIN:.0%} "
        "better than chance trimtab does not judge.",
        "A loss whose chance is not known and that stays at its start, or that ends with one answer for every input: a "
        "warning only.",
        "A loss that may be negative and hovers (policy gradients), the losses of a GAN: these say nothing "
        "of progress.",
    ),
    threshold=f"Less than {NO_GAIN:.0%} better than chance, and flat (Mann-Kendall z above -2.6, p > 0.005). Set by "
    "hand; how often it is right is measured by studies/calibration.",
    causes=(
        "wrong-sign",
        "missing-zero-grad",
        "labels-invalid",
        "detached-graph",
        "frozen-parameters",
        "loss-mismatch",
        "output-activation-mismatch",
        "constant-initial-weights",
        "updates-lost-in-rounding",
        "too-much-dropout",
        "too-much-weight-decay",
        "clipping-too-tight",
        "inputs-unscaled",
        "targets-unscaled",
        "initial-weights-too-large",
        "unclipped-recurrence",
        "over-smoothing",
        "initial-weights-too-small",
        "missing-activation",
        "bad-batch",
        "learning-rate-too-high",
        "saturating-activation",
        "learning-rate-too-low",
        "weak-optimizer",
        "too-few-steps",
        "batch-too-small",
        "dying-activation",
        "depth-without-normalisation",
        "uninformative-data",
    ),
    remedies="What the causes ask for. Where the record shows none: lr*10 if the median step changes the weights by "
    f"less than {HEALTHY_UPDATE:.1%} of their size, else lr*0.1.",
    rule=stalled_loss,
    sources=("Mann 1945, Econometrica 13; Kendall 1975, Rank Correlation Methods",),
    leads_to=frozenset({"slow-loss"}),
)
