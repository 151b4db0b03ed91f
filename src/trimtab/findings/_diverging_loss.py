"""diverging-loss: the loss rises beyond where it began, or back to chance, and stays there or loses much time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .._language import t
from ._evidence import LARGE_UPDATE
from ._excursion import (
    CLEAR_OF_NOISE,
    LIVE_RISE,
    LIVE_STEPS,
    OUTSIDE,
    Excursion,
    alarmed,
    clear_of_noise,
    excursion,
    stays_beyond,
)
from ._finding import Finding
from ._history import Floats, History, Track
from ._levels import block_medians, noise
from ._mirrored import mirrored_loss, trains_a_model
from ._progress import CLEAR_GAIN, ENOUGH_STEPS, progress
from ._text import number
from ._trouble import Trouble
from .causes import Case, explain
from .causes._labels import BINARY_LOSSES, SLACK

RISE = 2.0  # times the larger of start and chance
LOST = 0.9  # share of the reference at which a loss that had learned (under half of it) counts as back at chance
EARLY = 100  # steps: a loss that leaves within them may want a warm-up
RUNAWAY = 1e4  # times its own scale: a loss without a floor, followed downwards
RUNAWAY_MIRRORED = 0.5  # the same, where it is minus what the loss function returned, and a model is trained


ENDLESS = 10.0  # times its start, in size: so far below it, at an unbroken pace, a loss has no least value
PACE = 0.75  # of the first half is what the second half of the run adds; 0.6 where it falls as the root of the steps


@dataclass(frozen=True)
class Onset:
    """From `row` of the track on, the loss stayed beyond `threshold`; where there is an `away`, it came back."""

    row: int
    how: str  # rises, returns, falls (without end), is below 0 or comes back
    reference: float
    threshold: float
    level: float
    best: float
    away: Excursion | None = None
    trained: bool = False  # it came back, and the training got over it

    @property
    def severity(self) -> str:
        """Fatal where the loss ended beyond its reference, serious where it came back no further than to that."""
        if self.how == "comes back":
            return "warning" if self.trained else "fatal" if self.level > self.reference else "serious"
        return "fatal"


def onset(history: History, track: Track) -> Onset | None:
    """Where the loss left, for good or for long, judged on its finite values; None where it did not."""
    return history.once(("onset", track), lambda: _onset(history, track))


def _onset(history: History, track: Track) -> Onset | None:
    values = track.finite_loss
    if history.adversarial or len(values) < 4:
        return None
    if (below := _below_zero(track, values)) is not None:
        return below
    if history.live:
        return _live(track, values)
    if values.min() < 0:
        return _signed(track, values)
    return _rise(track, values) or _return(track, values) or _comes_back(history, track, values)


def diverging_loss(history: History) -> Iterator[Finding]:
    track = history.lead
    found = onset(history, track) if track else None
    if track is None or found is None:
        return
    step = int(track.step[found.row])
    last = int(track.step[track.finite_rows[found.away.last]]) if found.away else track.last_step
    causes, remedies = explain(Case("diverging-loss", history, track, step, last), TROUBLE.causes)
    if step < EARLY and found.how not in ("falls", "is below 0"):
        remedies = tuple(dict.fromkeys((*remedies, "warmup=100")))
    yield Finding(
        "diverging-loss",
        "serious" if history.live else found.severity,
        step,
        last,
        _says(track, found, step),
        (history.place(track),) if history.several else (),
        {
            "loss": found.level,
            "reference": found.reference,
            "threshold": found.threshold,
            "best_before": found.best,
            **({"peak": found.away.peak, "steps_beyond": found.away.steps} if found.away else {}),
        },
        causes,
        remedies,
    )


def reference_of(track: Track, values: Floats) -> float:
    """The larger of chance and the loss before the first update (a batch's luck guarded by the median of five)."""
    start = min(float(values[0]), float(np.median(values[:5])))
    return max(start, track.chance) if np.isfinite(track.chance) and track.chance > 0 else start


def _end(values: Floats) -> Floats:
    return values[-max(3, len(values) // 5) :]


def _rise(track: Track, values: Floats) -> Onset | None:
    reference = reference_of(track, values)
    threshold = RISE * reference
    end = _end(values)
    if reference <= 0 or float(np.quantile(end, 0.25)) <= threshold:
        return None
    level = float(np.median(end))
    if not np.isfinite(track.chance) and not clear_of_noise(values, end, reference):
        return None
    row = _last_departure(values, threshold)
    return Onset(int(track.finite_rows[row]), "rises", reference, threshold, level, _best(values, row))


def _return(track: Track, values: Floats) -> Onset | None:
    """A loss that had learned and lost it: back at the reference after having been under half of it."""
    if len(values) < 20:
        return None
    reference = track.chance if np.isfinite(track.chance) and track.chance > 0 else reference_of(track, values)
    medians = block_medians(values, 64)
    best = float(medians.min())
    end = _end(values)
    level = float(np.median(end))
    if best >= 0.5 * reference or float(np.quantile(end, 0.25)) < LOST * reference:
        return None
    threshold = float(np.sqrt(max(best, 1e-300) * level))
    row = _last_departure(values, threshold)
    return Onset(int(track.finite_rows[row]), "returns", reference, threshold, level, best)


def _comes_back(history: History, track: Track, values: Floats) -> Onset | None:
    """A loss that was far beyond its reference for long. Where the training got over it, only what rang the alarm."""
    reference = reference_of(track, values)
    state = progress(history)
    trained = state.learned and state.last < (1 - CLEAR_GAIN) * reference
    away = alarmed(track, values, reference)
    if not trained:
        away = excursion(track, values, reference) or away
    if away is None:
        return None
    row = int(track.finite_rows[away.first])
    best = _best(values, away.first)
    return Onset(row, "comes back", reference, away.threshold, state.last, best, away, trained)


def _below_zero(track: Track, values: Floats) -> Onset | None:
    """A binary cross-entropy that its function returned as less than 0, and that ends there: with labels from 0 to 1
    it cannot be."""
    losses = track.series.losses
    names = ("target_min", "target_max", "value")
    low, high, value = (np.asarray(losses.get(name, ()), dtype=np.float64) for name in names)
    if track.loss_kind not in BINARY_LOSSES or not np.any((value < 0) & ((low < -SLACK) | (high > 1 + SLACK))):
        return None
    end = _end(values)
    if float(np.quantile(end, 0.75)) >= 0:
        return None
    row = _last_departure(-values, 0.0)
    level = float(np.median(end))
    return Onset(int(track.finite_rows[row]), "is below 0", float(np.median(values[:5])), 0.0, level, level)


def _signed(track: Track, values: Floats) -> Onset | None:
    """A loss that may be negative: its scale is its start, its noise or its own fall, whichever is largest."""
    start = float(np.median(values[:5]))
    spread = max(abs(start), CLEAR_OF_NOISE * noise(values), start - _best(values, len(values)))
    end = _end(values)
    level = float(np.median(end))
    up = start + RISE * spread
    far = RUNAWAY_MIRRORED if trains_a_model(track) and mirrored_loss(track) is not None else RUNAWAY
    scale = max(abs(start), noise(values[: max(3, len(values) // 10)]))
    down = start - far * scale
    if float(np.quantile(end, 0.25)) > up:
        row = _last_departure(values, up)
        return Onset(int(track.finite_rows[row]), "rises", start, up, level, _best(values, row))
    if float(np.quantile(end, 0.75)) < down:
        row = _last_departure(-values, -down)
        return Onset(int(track.finite_rows[row]), "falls", start, down, level, level)
    if level < 0 and start - level > ENDLESS * scale and _falls_unbroken(track, values):
        return Onset(int(track.finite_rows[len(values) // 2]), "falls", start, level, level, level)
    return None


def _falls_unbroken(track: Track, values: Floats) -> bool:
    """The second half of the run took the loss down about as far as the first, and the gradient is longer than it was:
    it is nowhere near a least value."""
    middles = [float(np.median(part)) for part in np.array_split(values, 9)[::4]]
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)[track.finite_rows]
    tenth = max(3, len(norms) // 10)
    with np.errstate(invalid="ignore"):
        longer = float(np.median(norms[-tenth:])) > float(np.median(norms[:tenth]))
    return len(values) >= ENOUGH_STEPS and longer and middles[1] - middles[2] > PACE * (middles[0] - middles[1])


def _live(track: Track, values: Floats) -> Onset | None:
    """Certain enough to interrupt: twenty steps beyond the threshold and not returning, or three far beyond it."""
    if values[: len(values) - 3].min(initial=0.0) < 0:
        return None
    reference = reference_of(track, values)
    last = values[-LIVE_STEPS:]
    half = len(last) // 2
    stays = len(values) > LIVE_STEPS and stays_beyond(last, RISE * reference)
    far = bool(np.all(values[-3:] > LIVE_RISE * reference) and values[-1] >= values[-3])
    if reference <= 0 or not (stays or far):
        return None
    level = float(np.median(last[half:]))
    if not np.isfinite(track.chance) and not far and not clear_of_noise(values, last[half:], reference):
        return None
    row = _last_departure(values, RISE * reference)
    return Onset(int(track.finite_rows[row]), "rises", reference, RISE * reference, level, _best(values, row))


def _last_departure(values: Floats, threshold: float) -> int:
    """The first value above the threshold of the final stretch whose running median of five stays above it."""
    if len(values) < 25:
        below = np.flatnonzero(values <= threshold)
    else:
        windows = np.lib.stride_tricks.sliding_window_view(values, 5)
        below = np.flatnonzero(np.sum(windows > threshold, axis=1) < 3) + 2
    begin = min(int(below[-1]) + 1 if len(below) else 0, len(values) - 1)
    return begin + int(np.argmax(values[begin:] > threshold))


def _best(values: Floats, row: int) -> float:
    return float(block_medians(values[: max(row, 1)], 64).min())


def _says(track: Track, found: Onset, step: int) -> str:
    if found.away:
        return _says_of_return(track, found, found.away)
    if found.how == "falls":
        return t(
            "from step {step} on the loss runs away downwards, to {level}: it has no least value",
            step=step,
            level=number(found.level),
        )
    if found.how == "is below 0":
        return t(
            "from step {step} on the loss is below 0, at {level}: a cross-entropy of valid labels cannot be",
            step=step,
            level=number(found.level),
        )
    if found.how == "returns":
        return t(
            "the loss had come down to {best}, rose from step {step} on and stayed at {level}, where it began",
            best=number(found.best),
            step=step,
            level=number(found.level),
        )
    return t(
        "from step {step} on the loss stays above {threshold} (twice the larger of its start and chance), at {level}",
        step=step,
        threshold=number(found.threshold),
        level=number(found.level),
    )


def _says_of_return(track: Track, found: Onset, away: Excursion) -> str:
    rose = t(
        "from step {step} on the loss rose to {peak}, was above {threshold} at {beyond} of {steps} steps",
        step=int(track.step[track.finite_rows[away.first]]),
        peak=number(away.peak),
        threshold=number(away.threshold),
        beyond=f"{away.steps:,}",
        steps=f"{len(track.finite_loss):,}",
    )
    level = number(found.level)
    if found.trained:
        return t("{rose}; the training recovered, and ended at {level}", rose=rose, level=level)
    if np.isfinite(track.chance):
        return t(
            "{rose}, and ended at {level}: chance is {chance}", rose=rose, level=level, chance=number(track.chance)
        )
    return t("{rose}, and ended at {level}: it began at {start}", rose=rose, level=level, start=number(found.reference))


TROUBLE = Trouble(
    name="diverging-loss",
    summary="The loss rises far beyond where it began, or back to chance, and stays there, for good or for much of "
    "the run.",
    measures="The loss of every step. Its reference is the loss before the first update or chance (the loss of the "
    "best constant answer on the run's own targets), whichever is larger. The end is the last fifth of the run, by "
    "quartiles, so that spikes do not count. A loss that may be negative is measured against its start, on the scale "
    "of its own noise and fall.",
    hurts="The training is lost, or what it had learned is. A loss that comes back begins again at chance, with the "
    "initial weights destroyed.",
    is_not=(
        "A spike that recovers.",
        "A rise that the training got over: a warning, and only where it was so long or so high that it was reported "
        "while the training ran.",
        "The noise of small batches: the lower quartile of the end must lie beyond the threshold, and where "
        "chance is not known the rise must clear six standard deviations of the log loss.",
        "A start at a loss of thousands that comes down: the reference is that start.",
        "The losses of a GAN or of an actor and its critic, which move against each other: they are not judged.",
    ),
    threshold=f"{RISE:g} times the reference (measured: runs that trained stayed under 1.1 times full-batch and 1.6 "
    f"times with minibatches), or a return to {LOST:.0%} of it after having been under half. A loss that came back, "
    f"but not clearly below chance and start, counts if a tenth of the run lay beyond {RISE:g} times the reference, or "
    f"beyond {OUTSIDE:g} times with a peak beyond {RISE:g} and an update of more than {LARGE_UPDATE:.0%} of the "
    f"weights. Downwards without end: {RUNAWAY:,.0f} times its scale; {ENDLESS:g} times, if the second half of "
    f"the run took it {PACE:g} times as far as the first, with a gradient longer than at the start; or a binary "
    "cross-entropy below 0 of targets that are not from 0 to 1. "
    f"While the training runs: {LIVE_STEPS} steps in a row, or 3 above {LIVE_RISE:,.0f} "
    "times. Set by hand; how often it is right is measured by studies/calibration.",
    causes=(
        "wrong-sign",
        "missing-zero-grad",
        "labels-invalid",
        "output-activation-mismatch",
        "too-much-dropout",
        "too-much-weight-decay",
        "inputs-unscaled",
        "targets-unscaled",
        "initial-weights-too-large",
        "stale-second-moment",
        "unclipped-recurrence",
        "bad-batch",
        "learning-rate-too-high",
        "missing-warm-up",
    ),
    remedies="lr*0.1 first; clip=global:1.0 if the gradient jumped; warmup=100 if it happened in the first steps.",
    rule=diverging_loss,
    sources=("Lewkowycz et al. 2020, arXiv:2003.02218 (a loss that rises first and returns)",),
    leads_to=frozenset(
        {
            "non-finite",
            "stalled-loss",
            "slow-loss",
            "exploding-gradient",
            "oscillating-loss",
            "dead-units",
            "saturated-units",
            "constant-output",
            "crash",
        }
    ),
)
