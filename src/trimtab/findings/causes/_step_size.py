"""Steps that are too long or too short for the weights, as the record shows them."""

from __future__ import annotations

import math

import numpy as np

from ..._language import t
from .._at_start import is_mild
from .._evidence import (
    HEALTHY_UPDATE,
    LARGE_UPDATE,
    LITTLE_TRAVEL,
    USELESS_TRAVEL,
    clip_remedy,
    first_update_ratio,
    higher_rate,
    learning_rate,
    lower_rate,
    of_their_size,
    travel_of,
    update_ratios,
)
from .._history import Floats
from .._levels import block_medians
from .._signal import signal
from .._text import number
from ._activations import MOST, ROSE, most_dead
from ._cause import EXACT, STRONG, WEAK, Case, Clue
from ._readings import FEWEST, WINDOW, adaptive, measured, median_of, past_median, row_of

GROWN = 100.0  # times: the gradient or the loss before a NaN
LOOK_BACK = 200  # steps
CATAPULT = 5.0  # times the larger of start and chance, in the first steps of a run that then stands still
EARLY = 100  # steps: the first of a run
LEVELLED = 0.2  # of the first step: so much shorter are the later ones of a run that wanted a warm-up
RISES = 0.5  # of the largest learning rate of the first steps: a run that starts below it has a warm-up
DECAYED = 0.01  # of its largest value, to which the learning rate had fallen by half of the run
LONG_UPDATE = 0.01  # twice the largest healthy one
ZIGZAG = -0.8  # correlation of one change of the loss with the next; -0.5 where the losses are independent
LARGE_ONCE = 0.2  # of a single update; 1 in 100 of the trainings that went well has one above 0.17
KILLED_BY_STEPS = ("stalled-loss", "constant-output", "dead-units")
AT_CHANCE = ("stalled-loss", "constant-output")
SLOW_UPDATE = HEALTHY_UPDATE / 10


def too_high(case: Case) -> Clue | None:
    """Something grew once steps were taken, or the steps are long against the weights."""
    if case.trouble in ("vanishing-gradient", "exploding-gradient") and _at_start(case):
        return _outweighs(case)
    grew = _growth(case)
    if not grew:
        return _long_steps(case) or _killed_units(case)
    first = first_update_ratio(case.track)
    rate = learning_rate(case.track)
    why = t("{grew} at {rate}", grew=grew, rate=rate) if rate else grew
    if first > LARGE_UPDATE:
        why = t("{why}; its first step changed the weights by {size}", why=why, size=of_their_size(first))
    return Clue(why, STRONG, (lower_rate(case.track), *clip_remedy(case.track)))


def _at_start(case: Case) -> bool:
    found = signal(case.track, live=case.history.live)
    return found is not None and found.worst is not None and found.step == case.first_step


def _outweighs(case: Case) -> Clue | None:
    """The first step was long, and the signal's change over depth is mild enough for that to matter."""
    found, first = signal(case.track, live=case.history.live), first_update_ratio(case.track)
    if found is None or found.worst is None or case.trouble == "exploding-gradient":
        return None
    if not first > LARGE_UPDATE or not is_mild(found.worst[1]):
        return None
    why = t("the first step changed the weights by {size}", size=of_their_size(first))
    return Clue(why, STRONG, (lower_rate(case.track),))


def grew(case: Case) -> bool:
    """Something grew before, as long steps make it grow."""
    return bool(_growth(case))


def _growth(case: Case) -> str:
    """What grew, as a clause; empty where nothing did that the learning rate would explain."""
    look = {
        "diverging-loss": _loss_left,
        "exploding-gradient": _gradient_left,
        "non-finite": _grew_before,
        "stalled-loss": _catapulted,
        "constant-output": _catapulted,
        "dead-units": _catapulted,
        "saturated-units": _catapulted,
    }.get(case.trouble)
    return look(case) if look else ""


def _loss_left(case: Case) -> str:
    track, row = case.track, row_of(case)
    rows, values = track.finite_rows, track.finite_loss
    before = values[rows < row] if np.any(rows < row) else values[:1]
    after = values[(rows >= row) & (track.step[rows] <= case.last_step)]
    if not len(before) or not len(after) or after.max() <= 0:
        return ""
    best = float(block_medians(before, 64).min())
    return t("the loss went from {low} to {high}", low=number(best), high=number(float(after.max())))


def _gradient_left(case: Case) -> str:
    norms = np.asarray(case.track.columns["grad_norm_raw"], dtype=np.float64)
    row = row_of(case)
    later = norms[row:][np.isfinite(norms[row:])]
    before = past_median(norms, row)
    if not len(later) or not before > 0:
        return ""
    return t("the gradient norm went from {low} to {high}", low=number(before), high=number(float(later.max())))


def _grew_before(case: Case) -> str:
    """The gradient or the loss grew by two decades in the steps before the first non-finite value."""
    row = row_of(case)
    norms = _grown(np.asarray(case.track.columns["grad_norm_raw"], dtype=np.float64), row)
    if norms:
        return t("the gradient norm grew from {low} to {high} before it", low=number(norms[0]), high=number(norms[1]))
    losses = _grown(np.asarray(case.track.columns["loss"], dtype=np.float64), row)
    if losses:
        return t("the loss grew from {low} to {high} before it", low=number(losses[0]), high=number(losses[1]))
    return ""


def _grown(column: Floats, row: int) -> tuple[float, float] | None:
    values = np.abs(column[max(0, row - LOOK_BACK) : row])
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return None
    start, peak = float(np.median(values[: max(1, len(values) // 2)])), float(values[-3:].max())
    grown = start > 0 and peak > GROWN * min(start, float(values[0]) or start)
    return (float(values[0]), peak) if grown else None


def _catapulted(case: Case) -> str:
    """The loss was thrown far up in the first steps, and came back."""
    values, chance = case.track.finite_loss, case.track.chance
    if len(values) < 2 or values[0] <= 0:
        return ""
    reference = max(float(values[0]), chance if chance > 0 else 0.0)
    peak = float(values[:EARLY].max())
    if peak <= CATAPULT * reference:
        return ""
    return t("the loss went from {low} to {high} in the first steps", low=number(float(values[0])), high=number(peak))


def _long_steps(case: Case) -> Clue | None:
    """Steps of more than a tenth of the weights' size: all the time, or once and as long as the weights themselves."""
    ratios = update_ratios(case.track, until=case.last_step)
    if case.trouble == "oscillating-loss" and (swings := _swings(case, ratios)) is not None:
        return swings
    certain = bool(ratios) and (float(np.median(ratios)) > LARGE_UPDATE / 2 or max(ratios) > 1)
    if not ratios or max(ratios) <= (LARGE_UPDATE if certain else LARGE_ONCE):
        return None
    why = t("a step changes the weights by up to {size}", size=of_their_size(max(ratios)))
    return Clue(why, STRONG if certain else WEAK, (lower_rate(case.track),))


def _killed_units(case: Case) -> Clue | None:
    """Units that lived at the first step and died: steps that were long against the weights moved them there."""
    if case.trouble not in KILLED_BY_STEPS:
        return None
    module, share, before = most_dead(case)
    longest = max(update_ratios(case.track, until=case.last_step), default=0.0)
    if share < MOST or share - before < ROSE or not longest > LONG_UPDATE:
        return None
    why = t(
        "{share} of the units before {module} died ({before} at the first step) under steps of up to {size}",
        share=f"{share:.0%}",
        module=module,
        before=f"{before:.0%}",
        size=of_their_size(longest),
    )
    return Clue(why, STRONG, ("lr*0.1",))


def _swings(case: Case, ratios: list[float]) -> Clue | None:
    """A loss that swings, with steps longer than healthy ones; or one that goes up and down at every other step."""
    if ratios and float(np.median(ratios)) > LONG_UPDATE:
        why = t("a step changes the weights by {size}", size=of_their_size(float(np.median(ratios))))
        return Clue(why, STRONG, ("lr*0.1",))
    changes = np.diff(case.track.finite_loss[-WINDOW:])
    if len(changes) < FEWEST or not changes.any():
        return None
    turns = float(np.sum(changes[1:] * changes[:-1]) / np.sum(changes**2))
    if turns > ZIGZAG:
        return None
    return Clue(t("the loss goes up and down at every other step: each one overshoots"), STRONG, ("lr*0.1",))


def too_low(case: Case) -> Clue | None:
    """The weights hardly move: within the run, or within what a step should do."""
    rates = measured(case.track.columns, "lr")
    if len(rates) and not rates.any():
        return Clue(t("the learning rate is 0 at every step"), EXACT)
    ratios = update_ratios(case.track)
    ratio = float(np.median(ratios)) if ratios else math.nan
    travel = ratio * len(case.track)
    if not median_of(case.track.columns, "grad_norm") > 0:
        return None  # what has no gradient stays where it is at any rate
    if travel < USELESS_TRAVEL:
        why = t(
            "a step changes the weights by {ratio} of their size: {travel} over the whole run (under {limit} is too "
            "little to learn anything)",
            ratio=number(ratio),
            travel=number(travel),
            limit=USELESS_TRAVEL,
        )
        return Clue(why, STRONG, (higher_rate(ratio),))
    return _decayed(rates) or _small_steps(case, ratio)


def _decayed(rates: Floats) -> Clue | None:
    """A schedule had ended the learning by half of the run: one that counts epochs is stepped at each batch."""
    if len(rates) < 20 or not np.median(rates) < DECAYED * rates.max():
        return None
    why = t(
        "the learning rate had fallen from {high} to {low} by half of the run: is the schedule stepped too often?",
        high=number(float(rates.max())),
        low=number(float(np.median(rates))),
    )
    return Clue(why, STRONG, ("schedule=cosine",))


def _small_steps(case: Case, ratio: float) -> Clue | None:
    little = case.trouble in AT_CHANCE and travel_of(case.track) < LITTLE_TRAVEL
    if not (case.trouble in ("slow-loss", "stalled-loss") or little) or not ratio < HEALTHY_UPDATE:
        return None
    why = t(
        "a step changes the weights by {ratio} of their size (healthy: 0.1 % to 0.5 %)",
        ratio=number(ratio),
    )
    return Clue(why, STRONG if ratio < SLOW_UPDATE or little else WEAK, (higher_rate(ratio),))


def no_warm_up(case: Case) -> Clue | None:
    """With an adaptive optimizer, steps that are long only at the very start."""
    rates = measured(case.track.columns, "lr_max")
    if case.first_step >= EARLY or not adaptive(case.track) or not len(rates):
        return None
    if rates[0] < RISES * rates[:EARLY].max():
        return None
    ratios = update_ratios(case.track)
    first = first_update_ratio(case.track)
    if len(ratios) < 4 or not first > LARGE_UPDATE:
        return None
    later = float(np.median(ratios[1:]))
    if later > LEVELLED * first or later > LONG_UPDATE:
        return None
    why = t(
        "the first step, taken at the full learning rate, changed the weights by {first}; later ones by {later}",
        first=of_their_size(first),
        later=f"{later:.2%}",
    )
    return Clue(why, STRONG, (f"warmup={EARLY}",))
