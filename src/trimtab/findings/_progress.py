"""Did it learn? The loss at the end against chance, or, where chance is not known, against its own start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._history import Floats, History, Track
from ._levels import Level, level, trend
from ._text import number, plural

# Shares of chance (or of the start) by which the end is better. To be calibrated on the corpus of
# studies/calibration; until then: clearly better is a tenth, no better is less than a twentieth.
CLEAR_GAIN = 0.10
NO_GAIN = 0.05
FEW_STEPS = 10  # fewer say nothing
ENOUGH_STEPS = 50  # fewer cannot prove that a loss stands still
PLATEAU_STEPS = 1000  # fewer cannot tell a stall from the plateau at chance that a falling loss often rests on
FALLING = -2.6  # Mann-Kendall z, one-sided p < 0.005


@dataclass(frozen=True)
class Progress:
    """`state` is one of

    learned (clearly better than the reference), stuck (no better, and flat), falling (not yet
    better, but on its way), weak (a little better, and flat), short (too few steps), plateau (stuck
    at chance, but fallen from its start, and not for long), constant (the same number at every
    step), unknown (the data cannot tell).
    """

    state: str
    says: str
    steps: int = 0
    first: float = float("nan")
    last: float = float("nan")
    reference: float = float("nan")
    by_chance: bool = False
    gain: float = float("nan")

    @property
    def learned(self) -> bool:
        return self.state == "learned"


def progress(history: History) -> Progress:
    """Judge the loss of the part's leading track as far as it has come."""
    track = history.lead
    if not history.tracks:
        why = next((str(e.data.get("why")) for e in history.events_of("unseen") if e.data.get("what") == "no step"), "")
        return Progress("unknown", "no optimizer step was seen" + (f": {why[:1].lower()}{why[1:]}" if why else ""))
    if track is None:
        return Progress("unknown", "no loss was seen: no backward pass that trimtab could read")
    if history.adversarial:
        return Progress(
            "unknown",
            "several optimizers took turns, each with a loss of its own (as in a GAN): "
            "no single loss says how well they train",
            len(track.loss),
        )
    return _judge(track)


def tail(values: Floats) -> Floats:
    """The end of a curve: its last fifth, at least 20 values, at most its second half."""
    size = min(max(20, len(values) // 5), max(1, len(values) // 2))
    return values[-size:]


def head(values: Floats) -> Floats:
    """The start of a curve: its first fiftieth, at least 1 and at most 20 values."""
    return values[: min(max(1, len(values) // 50), 20)]


def _judge(track: Track) -> Progress:
    values = track.finite_loss
    n = len(values)
    if n == 0:
        return Progress("unknown", "every loss seen was NaN or infinite", len(track.loss))
    first, last = level(head(values)), level(tail(values))
    by_chance = bool(np.isfinite(track.chance) and track.chance > 0 and values.min() >= 0)
    reference = track.chance if by_chance else first.value
    gain = (reference - last.value) / abs(reference) if reference else float("nan")
    state = _state(values, last, reference, by_chance, gain)
    if state == "stuck" and by_chance and n < PLATEAU_STEPS and first.value - last.value >= CLEAR_GAIN * first.value:
        state = "plateau"
    says = _sentence(state, n, first, last, reference, by_chance, track.summed_rows)
    return Progress(state, says, n, first.value, last.value, reference, by_chance, gain)


def _state(values: Floats, last: Level, reference: float, by_chance: bool, gain: float) -> str:
    n = len(values)
    if n < FEW_STEPS:
        return "short"
    if values.min() == values.max():
        return "constant"
    start_error = float(np.std(tail(values))) / float(np.sqrt(len(head(values))))
    error = last.error if by_chance else float(np.hypot(start_error, last.error))
    if _clearly_better(values, reference, last.value, error, by_chance):
        return "learned"
    if trend(values[-max(FEW_STEPS, n // 2) :]) < FALLING:
        return "falling"
    if n < ENOUGH_STEPS:
        return "short"
    if not by_chance and values.min() < 0:
        return "unknown"
    return "stuck" if gain < NO_GAIN else "weak"


def _clearly_better(values: Floats, reference: float, last: float, error: float, by_chance: bool) -> bool:
    drop = reference - last
    if by_chance:
        return drop - 2 * error >= CLEAR_GAIN * reference
    if values.min() < 0:  # a loss that may be negative has no zero to be a share of: its noise is the measure
        spread = float(np.std(tail(values)))
        return drop > 3 * error and drop > 2 * spread
    return drop > 3 * error and drop >= CLEAR_GAIN * reference


def _sentence(state: str, n: int, first: Level, last: Level, reference: float, by_chance: bool, summed: int) -> str:
    if state == "constant":
        return f"the loss was {number(last.value)} at every one of {plural(n, 'step')}"
    against = (
        f"loss {number(last.value)} at the end against chance {number(reference)} (the best constant answer"
        + (f"; the loss is taken for a sum over {plural(summed, 'row')})" if summed > 1 else ")")
        if by_chance
        else f"loss {number(last.value)} at the end against {number(first.value)} at the start "
        "(chance is not known for this loss)"
    )
    return {
        "short": f"{plural(n, 'step')}, too few to judge; {against}",
        "falling": f"{against}; still falling when the run ended: too few steps to judge",
        "plateau": f"{plural(n, 'step')}, too few to tell a plateau from a stall; the loss fell from "
        f"{number(first.value)} to {number(last.value)}, chance is {number(reference)}",
        "weak": f"{against}: a little better, and no longer falling",
        "unknown": f"{against}: a loss that may be negative and does not fall says nothing",
    }.get(state, against)
