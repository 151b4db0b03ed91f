"""slow-loss: the loss falls, but so slowly that most of the way was still ahead when the run ended."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .._language import t
from ._evidence import LITTLE_TRAVEL, USELESS_TRAVEL, travel_of
from ._finding import Cause, Finding
from ._history import Floats, History, Track
from ._levels import trend
from ._lost import lost
from ._progress import ENOUGH_STEPS, FALLING, FEW_STEPS, NO_GAIN, Progress, progress
from ._reported import reported
from ._text import number
from ._trouble import Trouble
from .causes import EXACT, STRONG, Case, explain
from .causes._labels import beyond_since

FAR = 0.5  # of the reference is still there at the end
FAST = 3.0  # times the run's length: a loss that would halve within that has not come to rest
MOST = 0.9  # of chance is still there: the training had hardly begun
CAUSES = (
    "detached-graph",
    "frozen-parameters",
    "loss-mismatch",
    "output-activation-mismatch",
    "updates-lost-in-rounding",
    "too-much-dropout",
    "too-much-weight-decay",
    "clipping-too-tight",
    "inputs-unscaled",
    "targets-unscaled",
    "initial-weights-too-large",
    "unclipped-recurrence",
    "saturating-activation",
    "missing-activation",
    "learning-rate-too-high",
    "learning-rate-too-low",
    "weak-optimizer",
    "batch-too-small",
    "dying-activation",
    "too-few-steps",
)

MILD = (
    "too-few-steps",
    "weak-optimizer",
    "learning-rate-too-low",
    "detached-graph",
    "frozen-parameters",
    "dying-activation",
    "saturating-activation",
)
"""Causes that a training may be meant to have, or lives with well: an unused head, a frozen body, small steps on a
trained model, units that rest."""
HOLDING_BACK = tuple(cause for cause in CAUSES if cause not in MILD)


def slow_loss(history: History) -> Iterator[Finding]:
    track = history.lead
    if track is not None and (invalid := _invalid(history, track)) is not None:
        yield invalid
        return
    if history.live or track is None or lost(history, track) is not None:
        return
    state = progress(history)
    if state.state not in ("learned", "falling", "weak", "short") or state.steps < FEW_STEPS:
        return
    case = Case("slow-loss", history, track, 0, track.last_step)
    mistakes, remedies = explain(case, (), at_least=EXACT)
    halving = _halving(track, state)
    if halving:
        known = bool(explain(case, HOLDING_BACK, at_least=STRONG)[0])
        yield _finding(case, state, halving, cause_is_known=known or _ended_early(state, halving))
    elif not mistakes and (halving := _halving_at_little_travel(track, state)):
        yield _finding(case, state, halving, cause_is_known=False)
    elif mistakes:
        yield _held_back(case, state, mistakes, remedies)
    elif state.by_chance and state.steps >= ENOUGH_STEPS and state.last > (1 + NO_GAIN) * state.reference:
        yield _above_chance(case, state)


def _halving(track: Track, state: Progress) -> float:
    """Steps that halving the loss would take, where it falls and most of the way is still ahead; else 0."""
    values = track.finite_loss
    if len(values) < 2 * FEW_STEPS or values.min() <= 0 or not state.last / state.reference > FAR:
        return 0.0
    return _steps_to_halve(values[len(values) // 2 :])


def _halving_at_little_travel(track: Track, state: Progress) -> float:
    """The same at the rate of the whole run, where the weights hardly moved: a run so short that its second half alone
    does not show the fall for certain."""
    values = track.finite_loss
    if not state.by_chance or state.steps < ENOUGH_STEPS or values.min() <= 0 or not state.last > FAR * state.reference:
        return 0.0
    falls_on = trend(values[len(values) // 2 :]) < 0
    return _steps_to_halve(values) if falls_on and travel_of(track) < LITTLE_TRAVEL else 0.0


def _ended_early(state: Progress, halving: float) -> bool:
    """The run ended when its loss had just begun to fall, and fell fast."""
    begun = state.by_chance and state.last > MOST * state.reference
    return begun and state.steps >= ENOUGH_STEPS and halving <= FAST * state.steps


def _steps_to_halve(stretch: Floats) -> float:
    """Steps that halving the loss would take at the rate of a stretch of it; 0 where it does not fall there."""
    if trend(stretch) > FALLING:
        return 0.0
    logs = np.array([np.mean(block) for block in np.array_split(np.log(stretch), min(16, len(stretch)))])
    i, j = np.triu_indices(len(logs), 1)
    per_block = float(np.median((logs[j] - logs[i]) / (j - i)))  # Theil-Sen
    return math.log(2) / -per_block * (len(stretch) / len(logs)) if per_block < 0 else 0.0


def _severity(state: Progress, travel: float, *, cause_is_known: bool) -> str:
    """Above a note only where something is seen to hold the training back, or where the loss began at chance and the
    weights hardly moved.

    A loss that began where a trained model left it has no way to go, however little it travels.
    """
    at_chance = state.by_chance and state.first > MOST * state.reference
    if not at_chance or not travel < LITTLE_TRAVEL or state.steps < ENOUGH_STEPS:
        return "warning" if cause_is_known else "note"
    return "serious" if travel < USELESS_TRAVEL else "warning"


def _finding(case: Case, state: Progress, halving: float, *, cause_is_known: bool) -> Finding:
    travel = travel_of(case.track)
    severity = _severity(state, travel, cause_is_known=cause_is_known)
    moved = t("; the weights moved by {travel} of their size in all", travel=number(travel)) if travel < 1 else ""
    return reported(
        case,
        severity,
        t(
            "the loss was still falling at {last}, {share} of {reference}, when the run ended: at that rate another "
            "{steps} steps would halve it{moved}",
            last=number(state.last),
            share=f"{state.last / state.reference:.0%}",
            reference=t("chance") if state.by_chance else t("where it began"),
            steps=number(float(f"{halving:.2g}")),
            moved=moved,
        ),
        _where(case),
        _evidence(state)
        | {
            "steps_to_halve": halving,
            "travel": travel,
            "threshold": USELESS_TRAVEL if severity == "serious" else LITTLE_TRAVEL,
        },
        CAUSES,
    )


def _held_back(case: Case, state: Progress, mistakes: tuple[Cause, ...], remedies: tuple[str, ...]) -> Finding:
    """The loss falls, but not as it would without a mistake that the record proves."""
    return Finding(
        "slow-loss",
        "warning" if state.learned else "serious",
        case.first_step,
        case.last_step,
        t("a mistake in the script holds the training back: {why}", why=mistakes[0].why),
        tuple(_where(case)),
        _evidence(state),
        mistakes,
        remedies,
    )


def _invalid(history: History, track: Track) -> Finding | None:
    """Labels that are none of the classes, and count: exact at the first sampled step, whatever the loss does."""
    since = beyond_since(track)
    if since is None:
        return None
    case = Case("slow-loss", history, track, since, track.last_step)
    causes, remedies = explain(case, ("labels-invalid",), at_least=EXACT)
    if not causes:
        return None
    losses = track.series.losses
    share = float(losses["labels_beyond"][losses["step"] == since][0])
    return Finding(
        "slow-loss",
        "serious",
        since,
        track.last_step,
        t(
            "at step {step} {share} of the rows have a label that is none of the classes: what is learned from them is "
            "nothing, or wrong",
            step=since,
            share=f"{share:.0%}" if share >= 0.01 else number(share),
        ),
        tuple(_where(case)),
        _evidence(progress(history)) | {"labels_beyond": share, "threshold": 0.0},
        causes,
        remedies,
    )


def _above_chance(case: Case, state: Progress) -> Finding:
    """The loss began far above chance, and the whole run was spent on coming down to it."""
    return reported(
        case,
        "serious" if state.steps >= 2 * ENOUGH_STEPS else "warning",
        t(
            "the loss began at {first} and had only come down to {last} when the run ended: the best constant answer "
            "gives {chance}",
            first=number(state.first),
            last=number(state.last),
            chance=number(state.reference),
        ),
        _where(case),
        _evidence(state) | {"threshold": (1 + NO_GAIN) * state.reference},
        CAUSES,
    )


def _where(case: Case) -> list[dict[str, object]]:
    return [case.history.place(case.track)] if case.history.several else []


def _evidence(state: Progress) -> dict[str, object]:
    return {"loss": state.last, "reference": state.reference, "chance_known": state.by_chance}


TROUBLE = Trouble(
    name="slow-loss",
    summary="The loss falls, but so slowly that most of the way was still ahead when the run ended.",
    measures="The slope of the log loss over the second half of the run (Theil-Sen on the means of 16 blocks, where "
    "Mann-Kendall's test says that it falls): how many steps halving the loss would take at that rate. How far the "
    "weights travelled: the median |update| / |weight| times the steps, of the matrix that moves most. And mistakes "
    "that the record proves and that hold any training back: zero_grad missing, an activation applied twice, shapes "
    "that broadcast, labels that are all the same or none of the classes, units that begin alike.",
    hurts="The time is spent and the model is half trained; a longer step, or another optimizer, would have got there.",
    is_not=(
        f"A loss under {FAR:.0%} of chance (where that is not known, of its start): most of the way is done.",
        "A loss that no longer falls: it has come to rest, however high.",
        "Fine-tuning, where small steps are right: where chance is not known, or the loss began far below it, it is a "
        "note.",
    ),
    threshold=f"A loss that ends more than {NO_GAIN:.0%} above chance, though it falls. Else a loss above {FAR:.0%} of "
    f"chance that falls: a note, but a warning where it is above {MOST:.0%} and halving it would take at most {FAST:g} "
    "times the steps of the run, where the record has strong evidence of what holds the training back, or where it "
    f"began at chance and the travel is under {LITTLE_TRAVEL:g} (of the trainings that went well none travelled less "
    f"than 0.3); serious under {USELESS_TRAVEL:g} (measured per step: useless runs 1.7e-6 to 3.2e-6, healthy ones 9e-4 "
    "to 5e-3). With so little travel the fall over the whole run counts, if it goes on. A proven mistake "
    "is a warning, serious where the loss did not come down, and where labels are none of the classes: those are told "
    "of from the first sampled step on, whatever the loss does. Set by hand; how often it is right is measured by "
    "studies/calibration.",
    causes=CAUSES,
    remedies="lr*10 where the steps are small; steps*4 where they are not; optimizer=adamw. A proven mistake first.",
    rule=slow_loss,
    sources=("Theil 1950; Sen 1968, JASA 63 (the slope)",),
    leads_to=frozenset(),
)
