"""exploding-gradient: the signal grows by decades over depth, or the gradient norm by decades within a few steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._language import t
from ._at_start import first_process, got_over, severity_of, signal_places, signal_readings
from ._evidence import clip_remedy
from ._finding import Finding
from ._history import Floats, History, Track
from ._levels import MAD_TO_STD
from ._lost import left
from ._over_time import FEW_CALLS, Recurrence, over_time
from ._signal import LIMIT, Direction, Signal, signal
from ._text import fold, number
from ._trouble import Trouble
from .causes import Case, explain

JUMP_Z = 6.0  # robust z of log10 |g|: healthy at most 3.9 in 1,500 steps, a batch of 30x at 12.5 (docs/science.md, 3)
JUMP_DECADES = 2.0
EARLY_DECADES = 3.0  # with fewer than ten earlier norms there is no spread to measure against
WINDOW = 50
LOOK_BACK = 200  # steps before the loss was lost
HIGH_START = 2.0  # times chance
AT_START = (
    "too-much-dropout",
    "initial-weights-too-large",
    "constant-initial-weights",
    "depth-without-normalisation",
    "unclipped-recurrence",
)
IN_TRAINING = (
    "wrong-sign",
    "missing-zero-grad",
    "labels-invalid",
    "output-activation-mismatch",
    "inputs-unscaled",
    "targets-unscaled",
    "initial-weights-too-large",
    "unclipped-recurrence",
    "bad-batch",
    "learning-rate-too-high",
    "missing-warm-up",
)


def exploding_gradient(history: History) -> Iterator[Finding]:
    for track in first_process(history):
        found = signal(track, live=history.live)
        if found and (worst := found.worst) and worst[1].log10_ratio > 0:
            yield _at_start(history, track, found, *worst)
            continue
        again = over_time(track, live=history.live)
        if again is not None and again.grows:
            yield _over_time(history, track, again)
            continue
        row = _jump(history, track)
        if row is not None:
            yield _in_training(history, track, row)


def _at_start(history: History, track: Track, found: Signal, name: str, direction: Direction) -> Finding:
    return _from_the_first_step(
        history,
        track,
        _says_at_start(found, name, direction),
        signal_places(history, track, found, name),
        signal_readings(found, direction, name),
    )


def _over_time(history: History, track: Track, again: Recurrence) -> Finding:
    says = t(
        "at step {step} the gradient becomes {times} larger on its way back through {calls} calls of {module}",
        step=again.step,
        times=fold(again.direction.log10_ratio),
        calls=again.calls,
        module=again.module,
    )
    return _from_the_first_step(
        history,
        track,
        says,
        (history.place(track, module=again.module),),
        {
            "calls": again.calls,
            "direction": "over time",
            "log10_backward_ratio": again.direction.log10_ratio,
            "threshold": again.limit,
            "by_call": list(again.direction.by_depth),
        },
    )


def _from_the_first_step(
    history: History, track: Track, says: str, where: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]
) -> Finding:
    loss, step = track.finite_loss, int(track.series.sampled_steps[0])
    high = len(loss) > 0 and np.isfinite(track.chance) and loss[0] > HIGH_START * track.chance
    causes, remedies = explain(Case("exploding-gradient", history, track, step, track.last_step), AT_START)
    severity = severity_of(history, recovered="warning" if high else "note")
    if len(loss):
        says = t("{says}, and the loss starts at {loss}", says=says, loss=number(float(loss[0])))
    return Finding(
        "exploding-gradient",
        severity,
        step,
        track.last_step,
        says + (got_over() if severity == "note" else ""),
        tuple(where),
        evidence,
        causes,
        () if severity == "note" else tuple(dict.fromkeys((*remedies, *clip_remedy(track)))),
    )


def _says_at_start(found: Signal, name: str, direction: Direction) -> str:
    step, times, path = found.step, fold(direction.log10_ratio), found.path
    if name == "backward":
        return t(
            "at step {step} the gradient becomes {times} larger on its way back through {path}",
            step=step,
            times=times,
            path=path,
        )
    return t(
        "at step {step} the signal becomes {times} larger on its way through {path}",
        step=step,
        times=times,
        path=path,
    )


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
    gone = left(history, track)
    causes, remedies = explain(Case("exploding-gradient", history, track, step, track.last_step), IN_TRAINING)
    return Finding(
        "exploding-gradient",
        "serious" if history.live or gone is None else gone[1],
        step,
        track.last_step,
        _says_in_training(before, float(norms[row]), step, names),
        tuple(history.place(track, tensor=name) for name in names)
        or ((history.place(track),) if history.several else ()),
        {
            "grad_norm": float(norms[row]),
            "grad_norm_median_before": before,
            "grad_norm_peak": peak,
            "log10_jump": float(np.log10(norms[row] / before)),
            "threshold": JUMP_DECADES if row >= 10 else EARLY_DECADES,
        },
        causes,
        remedies,
    )


def _says_in_training(before: float, now: float, step: int, names: list[str]) -> str:
    says = t(
        "the gradient norm jumped from {before} to {now} at step {step}",
        before=number(before),
        now=number(now),
        step=step,
    )
    return t("{says}, most in {tensor}", says=says, tensor=names[0]) if names else says


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
    measures="At the first step what vanishing-gradient measures, with the other sign; never the weight gradients "
    "layer by layer, which may be flat over depth while the signal grows by decades. In a layer that is called again "
    f"and again ({FEW_CALLS} times or more), the gradient of its outputs over the calls, in the same way: growth over "
    "time. During training the 2-norm of "
    f"all gradients before any clip, on a log scale, against the median and the spread (MAD) of up to {WINDOW} steps "
    f"before; only in the {LOOK_BACK} steps before the loss was lost, or went far beyond its start for long.",
    hurts="One step along a gradient that is a hundred times too long undoes what the steps before have learned, "
    "and the next gradient is longer still, until a number overflows.",
    is_not=(
        "A gradient that shrinks over time, as that of most recurrent nets does: it is not judged.",
        "What happens inside of a fused LSTM, GRU or RNN: only the size of its recurrent weights is seen.",
        "A long gradient as such: nets differ by orders of magnitude, and no fixed norm separates them.",
        "A jump that the training survives: that is a loss-spike.",
        f"A start that the training got over: a warning where the first loss was beyond {HIGH_START:g} times chance, "
        "else a note.",
    ),
    threshold=f"At the first step {LIMIT:g} decades, and the exceptions of vanishing-gradient. During training a "
    f"robust z of {JUMP_Z:g} (measured: healthy at most 3.9 in 1,500 steps, a batch scaled by 30 at 12.5) and "
    f"{JUMP_DECADES:g} decades; {EARLY_DECADES:g} decades within the first ten steps. Set by hand; how often it is "
    "right is measured by studies/calibration.",
    causes=tuple(dict.fromkeys((*AT_START, *IN_TRAINING))),
    remedies="At the first step: init=he, norm=layer, residual branches scaled by 1/sqrt(depth). During training: "
    "clip=global:1.0 or lr*0.1.",
    rule=exploding_gradient,
    sources=("Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063", "Hanin 2018, arXiv:1801.03744"),
    leads_to=frozenset(
        {
            "non-finite",
            "loss-spike",
            "diverging-loss",
            "oscillating-loss",
            "stalled-loss",
            "slow-loss",
            "dead-units",
            "saturated-units",
            "constant-output",
            "crash",
        }
    ),
)
