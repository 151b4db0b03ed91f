"""non-finite: a NaN or an infinity in the loss, the gradient or the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._language import t
from ._finding import Finding
from ._history import Array, Event, History, Track
from ._text import listed, number, plural
from ._trouble import Trouble
from .causes import STRONG, Case, explain
from .causes._numbers import MANY_SKIPS, is_withheld_by_guard, withheld
from .causes._readings import longest_streak

RECOVERY_STEPS = 3
SCALER_CAUSES = ("precision-overflow", "invalid-operation")


def first_bad(track: Track) -> int | None:
    """The first row whose loss or raw gradient is not finite, steps withheld by a gradient scaler left out."""
    rows = np.flatnonzero(_bad(track))
    return int(rows[0]) if len(rows) else None


def first_lost(track: Track) -> int | None:
    """`first_bad` where the training did not get over it."""
    bad = np.flatnonzero(_bad(track))
    return int(bad[0]) if len(bad) and not _survived(track, bad) else None


def non_finite(history: History) -> Iterator[Finding]:
    for track in history.tracks:
        streak = longest_streak(withheld(track))
        if first_bad(track) is not None:
            yield _finding(history, track)
        elif streak[1] >= MANY_SKIPS or (not history.live and _never_finite(track)):
            yield _scaler_finding(history, track, *streak)


def _never_finite(track: Track) -> bool:
    return len(track.loss) >= RECOVERY_STEPS and not len(track.finite_loss)


def _bad(track: Track) -> Array:
    loss = np.asarray(track.columns["loss"], dtype=np.float64)
    bad_loss = track.has_loss & ~np.isfinite(loss)
    return ((np.asarray(track.columns["nonfinite"]) > 0) | bad_loss) & ~track.skipped


def _finding(history: History, track: Track) -> Finding:
    bad = np.flatnonzero(_bad(track))
    row, last = int(bad[0]), int(bad[-1])
    step = int(track.step[row])
    event = next((e for e in history.events_of("nonfinite", track) if e.step == step), None)
    stage = _stage(track, row, event)
    survived = _survived(track, bad)
    case = Case("non-finite", history, track, step, int(track.step[last]))
    causes, remedies = explain(case, TROUBLE.causes)
    passing = (
        stage != "weights" and len(bad) < len(track.step) and not explain(case, ("labels-invalid",), at_least=STRONG)[0]
    )
    says = _says(track, row, stage, event)
    if survived:
        count = plural(len(bad), "step")
        says = t("{says}; the training went on with finite numbers ({count} of this kind)", says=says, count=count)
    elif _went_on(track, bad):
        says = t(
            "{says}; from then on the weights of {names} hold NaN or infinity, and what follows them hides it",
            says=says,
            names=listed(_spoilt(track, row)),
        )
    return Finding(
        "non-finite",
        "warning" if survived else "fatal",
        step,
        int(track.step[last]),
        says,
        _where(history, track, event),
        _readings(track, row, stage, len(bad)),
        causes,
        (*remedies, "skip=nonfinite") if passing else remedies,
    )


def _stage(track: Track, row: int, event: Event | None) -> str:
    """Where the first non-finite value arose: weights, forward or backward."""
    if event and event.data.get("weights_nonfinite"):
        return "weights"
    if track.has_loss[row] and not np.isfinite(track.columns["loss"][row]):
        return "forward"
    if event and event.data.get("loss_finite") is False:
        return "forward"
    return "backward"


def _handled(track: Track, row: int) -> bool:
    """The script kept the non-finite gradient from its optimizer."""
    return bool(track.columns["nonfinite"][row] > 0 and np.isfinite(track.columns["grad_norm"][row]))


def _survived(track: Track, bad: Array) -> bool:
    """The training went on, with finite weights."""
    return _went_on(track, bad) and not _spoilt(track, int(bad[0]))


def _went_on(track: Track, bad: Array) -> bool:
    """Finite steps followed the last non-finite one; at the end of the record, the optimizer never got any of it."""
    if len(track) - 1 - int(bad[-1]) >= RECOVERY_STEPS:
        return True
    return len(bad) < RECOVERY_STEPS and all(_handled(track, int(row)) for row in bad)


def _spoilt(track: Track, row: int) -> list[str]:
    """The weights that are not finite at the last sampled step, where that comes after `row` and others are.

    Loss and gradients may well be finite then: TensorFlow's ReLU on a CPU answers 0 to NaN. A weight that was NaN stays
    so, whichever of the non-finite steps it was that spoilt it.
    """
    sampled = np.asarray(track.series.sampled_steps)
    if not len(sampled) or sampled[-1] <= track.step[row]:
        return []
    rows = track.series.tensors(int(sampled[-1]))
    norms = np.asarray(rows.get("weight_norm", ()), dtype=np.float64)
    if not np.isfinite(norms).any():
        return []
    return [str(name) for name in rows["tensor"][~np.isfinite(norms)]]


def _says(track: Track, row: int, stage: str, event: Event | None) -> str:
    data = event.data if event else {}
    when = _when(track, row, data)
    value = number(float(track.columns["loss"][row])) if track.has_loss[row] else t("not seen")
    if stage == "weights":
        return _says_weights(row, when, listed(_names(data, "weights_nonfinite")))
    if stage == "forward":
        op = data.get("forward") or {}
        source = _operation_text(op) if isinstance(op, dict) and op else ""
        if source:
            return t("the loss became {value} at {when}, first in {source}", value=value, when=when, source=source)
        return t("the loss became {value} at {when}", value=value, when=when)
    names = _names(data, "tensors")
    if names:
        return t(
            "the gradient became non-finite at {when}, first in {tensor}, while the loss was {value}",
            when=when,
            tensor=names[0],
            value=value,
        )
    return t("the gradient became non-finite at {when}, while the loss was {value}", when=when, value=value)


def _when(track: Track, row: int, data: Mapping[str, Any]) -> str:
    """ "step 40", "step 40 (backward pass 2 of 4)"."""
    step, passes = int(track.step[row]), int(track.columns["backwards"][row])
    if passes > 1 and "backward_pass" in data:
        return t("step {step} (backward pass {one} of {all})", step=step, one=data["backward_pass"], all=passes)
    return t("step {step}", step=step)


def _says_weights(row: int, when: str, names: str) -> str:
    if row == 0:
        return t("the weights hold NaN or infinity at {when}, from the start: {names}", when=when, names=names)
    return t(
        "the weights hold NaN or infinity at {when}, after the update of the step before: {names}",
        when=when,
        names=names,
    )


def _operation_text(op: dict[str, Any]) -> str:
    text = str(op.get("op") or t("an operation"))
    place = op.get("module") or op.get("tensor")
    return t("{operation} after {place}", operation=text, place=place) if place else text


def _names(data: Any, key: str) -> list[str]:
    names = data.get(key) or []
    return [str(name) for name in names] if isinstance(names, list) else []


def _where(history: History, track: Track, event: Event | None) -> tuple[dict[str, Any], ...]:
    data = event.data if event else {}
    op = data.get("forward")
    places = []
    if isinstance(op, dict) and any(op.get(key) for key in ("module", "op", "tensor")):
        places.append(history.place(track, module=op.get("module"), op=op.get("op"), tensor=op.get("tensor")))
    names = _names(data, "weights_nonfinite") or _names(data, "tensors")
    places += [history.place(track, tensor=name) for name in names[:20]]
    return tuple(places or [history.place(track)] if history.distributed or history.several else places)


def _readings(track: Track, row: int, stage: str, count: int) -> dict[str, Any]:
    before = track.finite_loss[track.finite_rows < row]
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)[:row]
    norms = norms[np.isfinite(norms)]
    readings: dict[str, Any] = {"stage": stage, "steps_affected": count}
    if track.has_loss[row]:
        readings["loss"] = float(track.columns["loss"][row])
    if len(before):
        readings["loss_before"] = float(before[-1])
    if len(norms):
        readings["grad_norm_before"] = float(norms[-1])
        readings["grad_norm_median_before"] = float(np.median(norms))
    if (tensors := int(track.columns["nonfinite"][row])) > 0:
        readings["tensors_with_nonfinite_gradient"] = tensors
    return readings


def _scaler_finding(history: History, track: Track, row: int, length: int) -> Finding:
    last = row + length - 1
    ended = last < len(track) - RECOVERY_STEPS
    scale = float(track.columns["loss_scale"][last])
    losses = track.loss[track.loss_rows >= row]
    hopeless = not ended and len(losses) > 0 and not np.isfinite(losses).any()
    step = int(track.step[row])
    by_guard = is_withheld_by_guard(track)
    known = TROUBLE.causes if by_guard else SCALER_CAUSES
    causes, remedies = explain(Case("non-finite", history, track, step, int(track.step[last])), known)
    return Finding(
        "non-finite",
        "warning" if ended else "fatal" if hopeless else "serious",
        step,
        int(track.step[last]),
        _says_guard(step, length)
        if by_guard
        else _says_scaler(step, length, scale, float(losses[0]) if hopeless else None),
        _where(history, track, next(iter(history.events_of("nonfinite", track)), None)),
        {"skipped_in_a_row": length, "threshold": MANY_SKIPS, "loss_scale": scale},
        causes,
        remedies,
    )


def _says_guard(step: int, length: int) -> str:
    return t(
        "the guard left out {length} steps in a row from step {step} on: no gradient of them could be used",
        length=length,
        step=step,
    )


def _says_scaler(step: int, length: int, scale: float, loss: float | None) -> str:
    says = t(
        "the gradient scaler withheld {length} steps in a row from step {step} on: each gradient overflowed",
        length=length,
        step=step,
    )
    if loss is not None:
        says = t(
            "the gradient scaler withheld {length} steps in a row from step {step} on: the loss was {loss} at each",
            length=length,
            step=step,
            loss=number(loss),
        )
    if not np.isfinite(scale):
        return says
    return t("{says}, and its scale fell to {scale}", says=says, scale=number(scale))


TROUBLE = Trouble(
    name="non-finite",
    summary="A NaN or an infinity appeared in the loss, a gradient or the weights.",
    measures="At every step: whether the loss is finite, and how many parameter tensors have a gradient (before "
    "any clip) that holds a NaN or an infinity, judged on the entries, never on a norm that overflowed. At the "
    "first such step also which came first, in order of the forward pass and then of the backward pass, and the "
    "operation that made it.",
    hurts="One NaN spreads to every weight in one step, and nothing is learned from then on. A clip makes it "
    "worse: the norm is NaN, and with it every clipped gradient.",
    is_not=(
        "A step that a gradient scaler withheld: it looks for the largest scale by overflowing now and then. "
        f"Only {MANY_SKIPS} in a row count.",
        "Non-finite steps that the training got over, or that the script kept from the optimizer: a warning.",
        "A finite norm of 1e30: that is exploding-gradient.",
    ),
    threshold=f"None: one entry is enough. Of withheld steps {MANY_SKIPS} in a row, which take PyTorch's scaler from "
    "2^16 to 2^6 (by default it halves the scale at each). That number is set by hand.",
    causes=(
        "missing-zero-grad",
        "wrong-sign",
        "labels-invalid",
        "output-activation-mismatch",
        "inputs-unscaled",
        "targets-unscaled",
        "initial-weights-too-large",
        "unclipped-recurrence",
        "stale-second-moment",
        "missing-warm-up",
        "learning-rate-too-high",
        "invalid-operation",
        "precision-overflow",
        "bad-batch",
    ),
    remedies="If the gradient or the loss grew by a factor of 100 before it: lr*0.1, or clip=global:1.0. If not, look "
    "at the operation and at the batch of that step. skip=nonfinite leaves such a step out, which hides a bug "
    "that happens at every step: it is not offered where the record proves a mistake in the script.",
    rule=non_finite,
    sources=("Micikevicius et al. 2018, arXiv:1710.03740, sec. 3.2 (loss scaling)",),
    leads_to=frozenset(
        {"diverging-loss", "stalled-loss", "slow-loss", "exploding-gradient", "constant-output", "crash"}
    ),
)
