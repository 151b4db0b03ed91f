"""Did it learn? The loss at the end against chance, or, where chance is not known, against its own start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._language import described, t
from ._history import Floats, History, Track
from ._levels import MAD_TO_STD, Level, level, trend
from ._spread import answers_alike
from ._text import number, plural

# Shares of chance (or of the start) by which the end is better. To be calibrated on the corpus of
# studies/calibration; until then: clearly better is a tenth, no better is less than a twentieth.
CLEAR_GAIN = 0.10
NO_GAIN = 0.05
MUCH_LEFT = 0.5  # of chance: a loss above it has most of its way ahead
FEW_STEPS = 10  # fewer say nothing
ENOUGH_STEPS = 50  # fewer cannot prove that a loss stands still
PLATEAU_STEPS = 1000  # fewer cannot tell a stall from the plateau at chance that a falling loss often rests on
VALUE_LOSSES = ("mse", "l1", "smooth_l1", "huber")  # chance is a variance, or the like of one
FALLING = -2.6  # Mann-Kendall z, one-sided p < 0.005
PEAKED = 2.0  # times chance: above, a mean whose median is under chance is made by the peaks of few steps


@dataclass(frozen=True)
class Progress:
    """`state` is one of

    learned (clearly better than the reference), stuck (no better, and flat; or a little better, but
    with one answer for every input), falling (not yet better, but on its way), weak (a little
    better, and flat), short (too few steps), plateau (stuck at chance, but fallen from its start, and
    not for long), noisy (no better than a start that was a lucky one, since the run as a whole fell),
    constant (the same number at every step), unknown (the data cannot tell).
    """

    state: str
    says: str
    steps: int = 0
    first: float = float("nan")
    last: float = float("nan")
    reference: float = float("nan")
    by_chance: bool = False
    gain: float = float("nan")
    peaks: float = float("nan")  # the mean at the end, where peaks of few steps lift it over chance: not `last`

    @property
    def learned(self) -> bool:
        return self.state == "learned"


def progress(history: History) -> Progress:
    """Judge the loss of the part's leading track as far as it has come."""
    return history.once("progress", lambda: _progress(history))


def _progress(history: History) -> Progress:
    track = history.lead
    if not history.tracks:
        why = next((str(e.data.get("why")) for e in history.events_of("unseen") if e.data.get("what") == "no step"), "")
        says = t("no optimizer step was seen")
        if why:
            says = t("{name}: {says}", name=says, says=described("no step", f"{why[:1].lower()}{why[1:]}"))
        return Progress("unknown", says)
    if track is None:
        return Progress("unknown", t("no loss was seen: no backward pass that trimtab could read"))
    if history.adversarial:
        return Progress(
            "unknown",
            t(
                "several optimizers took turns, each with a loss of its own (as in a GAN): "
                "no single loss says how well they train"
            ),
            len(track.loss),
        )
    return _judge(track)


def chance_error(track: Track) -> float:
    """Standard error of chance, as a share of it, from the number of targets that were seen.

    That of a variance, sqrt(2 / N) where the targets are normal. Of classes it is 0: near balance their entropy
    hardly depends on the shares.
    """
    if track.loss_kind not in VALUE_LOSSES:
        return 0.0
    rows = np.asarray(track.series.losses.get("rows", ()), dtype=np.float64)
    seen = float(rows[rows > 0].sum())
    return float(np.sqrt(2.0 / seen)) if seen else 0.0


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
        return Progress("unknown", t("every loss seen was NaN or infinite"), len(track.loss))
    by_chance = bool(np.isfinite(track.chance) and track.chance > 0 and values.min() >= 0)
    first, (last, peaks) = level(head(values)), _end(values, track.chance if by_chance else float("nan"))
    reference = track.chance if by_chance else first.value
    gain = (reference - last.value) / abs(reference) if reference else float("nan")
    reference_error = chance_error(track) * abs(reference) if by_chance else _start_error(values)
    state = _state(values, last, reference, by_chance, gain, reference_error)
    if state in ("stuck", "weak", "noisy") and answers_alike(track):
        state = "stuck"
    elif state == "stuck" and by_chance and n < PLATEAU_STEPS and _fell(values, first, last):
        state = "plateau"
    against = _against(track, first, last, reference, by_chance)
    says = _sentence(state, n, first, last, reference, against)
    return Progress(state, says, n, first.value, last.value, reference, by_chance, gain, peaks)


def _state(values: Floats, last: Level, reference: float, by_chance: bool, gain: float, reference_error: float) -> str:
    n = len(values)
    if n < FEW_STEPS:
        return "short"
    if values.min() == values.max():
        return "constant"
    error = float(np.hypot(reference_error, last.error))
    if _clearly_better(values, reference, last.value, error, by_chance):
        return "learned"
    if trend(values[-max(FEW_STEPS, n // 2) :]) < FALLING:
        return "falling"
    if n < ENOUGH_STEPS:
        return "short"
    if not by_chance and values.min() < 0:
        return "unknown"
    if gain >= NO_GAIN:
        return "weak"
    return "stuck" if by_chance or not _may_have_fallen(values, last.value) else "noisy"


def _end(values: Floats, chance: float) -> tuple[Level, float]:
    """Where the curve ends: its mean, or, where peaks of few steps make that, its median and that mean.

    A loss that stands still at or above chance does so at most steps: a constant answer's mean is chance itself,
    however skewed the loss.
    """
    end = tail(values)
    found, middle = level(end), float(np.median(end))
    if not (found.value > PEAKED * chance and middle < chance):
        return found, float("nan")
    spread = MAD_TO_STD * float(np.median(np.abs(end - middle)))
    return Level(middle, 1.25 * spread / float(np.sqrt(len(end)))), found.value


def _fell(values: Floats, first: Level, last: Level) -> bool:
    """From its start, by more than a tenth of that and than the noise of the batches."""
    drop = first.value - last.value
    return drop >= CLEAR_GAIN * first.value and drop > 2 * float(np.hypot(_start_error(values), last.error))


def _start_error(values: Floats) -> float:
    """Standard error of the loss at the start, from the noise of the end."""
    return float(np.std(tail(values))) / float(np.sqrt(len(head(values))))


def _may_have_fallen(values: Floats, last: float) -> bool:
    """The first losses were lucky ones: the run's first fifth, by one standard error of it, lay above its end."""
    early = level(values[: max(20, len(values) // 5)])
    high = early.value + early.error
    return high - last >= CLEAR_GAIN * high or trend(values) < FALLING


def _clearly_better(values: Floats, reference: float, last: float, error: float, by_chance: bool) -> bool:
    drop = reference - last
    if by_chance:
        return drop - 2 * error >= CLEAR_GAIN * reference
    if values.min() < 0:  # a loss that may be negative has no zero to be a share of: its noise is the measure
        spread = float(np.std(tail(values)))
        return drop > 3 * error and drop > 2 * spread
    return drop > 3 * error and drop >= CLEAR_GAIN * reference


def _sentence(state: str, n: int, first: Level, last: Level, reference: float, against: str) -> str:
    steps = plural(n, "step")
    if state == "constant":
        return t("the loss was {last} at every one of {steps}", last=number(last.value), steps=steps)
    if state == "plateau":
        return t(
            "the loss fell from {first} to {last} in {steps} and rests there, chance is {chance}: a plateau or a stall",
            steps=steps,
            first=number(first.value),
            last=number(last.value),
            chance=number(reference),
        )
    return {
        "short": lambda: t("{steps}, too few to judge; {against}", steps=steps, against=against),
        "falling": lambda: t("{against}; still falling when the run ended: too few steps to judge", against=against),
        "weak": lambda: t("{against}: a little better, and no longer falling", against=against),
        "noisy": lambda: t("{against}: its noise hides where it began", against=against),
        "unknown": lambda: t("{against}: a loss that may be negative and does not fall says nothing", against=against),
    }.get(state, lambda: against)()


def _against(track: Track, first: Level, last: Level, reference: float, by_chance: bool) -> str:
    """What the end was held against, and by what right."""
    if not by_chance and np.isfinite(track.chance) and track.finite_loss.min() < 0:
        return t(
            "loss {last} at the end against {first} at the start (a loss that may be negative is not held against "
            "chance)",
            last=number(last.value),
            first=number(first.value),
        )
    if not by_chance:
        return t(
            "loss {last} at the end against {first} at the start (chance is not known for this loss)",
            last=number(last.value),
            first=number(first.value),
        )
    if track.summed_rows > 1:
        return t(
            "loss {last} at the end against chance {chance} (the best constant answer; the loss is taken for a sum "
            "over {rows})",
            last=number(last.value),
            chance=number(reference),
            rows=plural(track.summed_rows, "row"),
        )
    return t(
        "loss {last} at the end against chance {chance} (the best constant answer)",
        last=number(last.value),
        chance=number(reference),
    )
