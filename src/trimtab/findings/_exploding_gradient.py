"""exploding-gradient: the signal grows by decades over depth, or the gradient norm by decades within a few steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ._at_start import GOT_OVER, first_process, normalised, severity_of, signal_places, signal_readings
from ._evidence import clip_remedy, learning_rate_too_high, lower_rate
from ._finding import Cause, Finding
from ._gain import gain_of
from ._history import Floats, History, Track
from ._levels import MAD_TO_STD
from ._lost import left
from ._signal import LIMIT, Direction, Signal, signal
from ._text import decades, fold, number
from ._trouble import Trouble

JUMP_Z = 6.0  # robust z of log10 |g|: healthy at most 3.9 in 1,500 steps, a batch of 30x at 12.5 (SCIENCE, rule 3)
JUMP_DECADES = 2.0
EARLY_DECADES = 3.0  # with fewer than ten earlier norms there is no spread to measure against
WINDOW = 50
LOOK_BACK = 200  # steps before the loss was lost
HIGH_START = 2.0  # times chance


def exploding_gradient(history: History) -> Iterator[Finding]:
    for track in first_process(history):
        found = signal(track, live=history.live)
        if found and (worst := found.worst) and worst[1].log10_ratio > 0:
            yield _at_start(history, track, found, *worst)
            continue
        row = _jump(history, track)
        if row is not None:
            yield _in_training(history, track, row)


def _at_start(history: History, track: Track, found: Signal, name: str, direction: Direction) -> Finding:
    growth = fold(direction.log10_ratio)
    what = (
        "the gradient becomes {} larger on its way back through {}"
        if name == "backward"
        else "the signal becomes {} larger on its way through {}"
    )
    loss = track.finite_loss
    start = f", and the loss starts at {number(float(loss[0]))}" if len(loss) else ""
    high = len(loss) > 0 and np.isfinite(track.chance) and loss[0] > HIGH_START * track.chance
    causes, remedies = _start_causes(track, found, direction)
    severity = severity_of(history, recovered="warning" if high else "note")
    return Finding(
        "exploding-gradient",
        severity,
        found.step,
        track.last_step,
        f"at step {found.step} {what.format(growth, found.path)}{start}" + (GOT_OVER if severity == "note" else ""),
        signal_places(history, track, found, name),
        signal_readings(found, direction, name),
        tuple(causes),
        () if severity == "note" else tuple(remedies),
    )


def _start_causes(track: Track, found: Signal, direction: Direction) -> tuple[list[Cause], list[str]]:
    gain = gain_of(track, found.step)
    pace = decades(direction.log10_ratio / max(1, len(direction.by_depth) - 1))
    causes: list[Cause] = []
    remedies: list[str] = []
    has_norm = normalised(track.series.modules(found.step))
    if gain.is_large or math.isnan(gain.value):
        measured = f"every layer multiplies the signal by {pace}" if math.isnan(gain.value) else str(gain)
        causes.append(Cause("initial-weights-too-large", measured))
        remedies.append(gain.remedy)
    if not has_norm or not causes:
        causes.append(
            Cause(
                "depth-without-normalisation",
                f"{pace} per layer over {len(found.layers)} layers"
                + ("" if has_norm else " and no normalisation among them"),
            )
        )
        remedies.append("norm=layer")
    return causes, [*remedies, *clip_remedy(track)]


def _jump(history: History, track: Track) -> int | None:
    """The first row of the steps before the loss was lost whose raw gradient norm left its past by decades."""
    gone = left(history, track)
    if gone is None:
        return None
    end, _ = gone
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)
    begin = max(0, end - LOOK_BACK - WINDOW)
    rows = np.flatnonzero(np.isfinite(norms[begin : end + 1]) & (norms[begin : end + 1] > 0)) + begin
    logs = np.log10(norms[rows])
    for i in range(1, len(rows)):
        if rows[i] >= end - LOOK_BACK and _jumps(logs[max(0, i - WINDOW) : i], float(logs[i])):
            return int(rows[i])
    return None


def _jumps(earlier: Floats, now: float) -> bool:
    rise = now - float(np.median(earlier))
    if len(earlier) < 10:
        return rise > EARLY_DECADES
    spread = MAD_TO_STD * float(np.median(np.abs(earlier - np.median(earlier))))
    return rise > max(JUMP_DECADES, JUMP_Z * spread)


def _in_training(history: History, track: Track, row: int) -> Finding:
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)
    earlier = norms[max(0, row - WINDOW) : row]
    before = float(np.median(earlier[np.isfinite(earlier)]))
    later = norms[row:]
    peak = float(later[np.isfinite(later)].max())
    step = int(track.step[row])
    names = _largest(track, step)
    place = f", most in {names[0]}" if names else ""
    gone = left(history, track)
    return Finding(
        "exploding-gradient",
        "serious" if history.live or gone is None else gone[1],
        step,
        track.last_step,
        f"the gradient norm jumped from {number(before)} to {number(float(norms[row]))} at step {step}{place}",
        tuple(history.place(track, tensor=name) for name in names)
        or ((history.place(track),) if history.several else ()),
        {
            "grad_norm": float(norms[row]),
            "grad_norm_median_before": before,
            "grad_norm_peak": peak,
            "log10_jump": float(np.log10(norms[row] / before)),
            "threshold": JUMP_DECADES if row >= 10 else EARLY_DECADES,
        },
        (learning_rate_too_high(track, grew=f"the gradient norm went from {number(before)} to {number(peak)}"),),
        (lower_rate(track), *clip_remedy(track)),
    )


def _largest(track: Track, step: int, limit: int = 3) -> list[str]:
    """The tensors with the largest raw gradient of a step."""
    rows = track.series.tensors(step)
    if not rows or "grad_norm_raw" not in rows or not len(rows["grad_norm_raw"]):
        return []
    norms = np.nan_to_num(np.asarray(rows["grad_norm_raw"], dtype=np.float64), nan=-1.0)
    return [str(rows["tensor"][i]) for i in np.argsort(-norms)[:limit]]


TROUBLE = Trouble(
    name="exploding-gradient",
    summary="The signal grows by decades over depth, or the gradient norm by decades within a few steps.",
    measures="At step 0 what vanishing-gradient measures, with the other sign. During training: the 2-norm of all "
    "gradients before any clip, on a log scale, against the median and the spread (MAD) of up to "
    f"{WINDOW} steps before; only where the loss was lost after it.",
    hurts="One step along a gradient that is a hundred times too long undoes what the steps before have learned, "
    "and the next gradient is longer still, until a number overflows.",
    is_not=(
        "A long gradient as such: nets differ by orders of magnitude, and no fixed norm separates them.",
        "A jump that the training survives (a loss-spike).",
        "The weight-gradient norms being flat over depth, which says nothing: they are flat in the textbook case.",
        "A start at a loss of thousands that comes down within the run: a warning.",
    ),
    threshold=f"At step 0 {LIMIT:g} decades, as vanishing-gradient. During training a robust z of "
    f"{JUMP_Z:g} (measured: healthy at "
    f"most 3.9 in 1,500 steps, a batch scaled by 30 at 12.5) and {JUMP_DECADES:g} decades; "
    f"{EARLY_DECADES:g} decades within the first "
    "ten steps. The decades are to be calibrated.",
    causes=(
        "learning-rate-too-high",
        "initial-weights-too-large",
        "depth-without-normalisation",
        "unclipped-recurrence",
        "bad-batch",
    ),
    remedies="At step 0: init=he, norm=layer, branches scaled by 1/sqrt(depth). During training: "
    "clip=global:1.0 or lr*0.1.",
    rule=exploding_gradient,
    sources=("Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063", "Hanin 2018, arXiv:1801.03744"),
    leads_to=frozenset({"non-finite", "diverging-loss", "stalled-loss", "crash"}),
)
