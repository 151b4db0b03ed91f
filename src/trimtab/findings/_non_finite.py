"""non-finite: a NaN or an infinity in the loss, the gradient or the weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ._evidence import clip_remedy, learning_rate_too_high, lower_rate
from ._finding import Cause, Finding
from ._history import Array, Event, History, Track
from ._text import listed, number
from ._trouble import Trouble

MANY_SKIPS = 10  # a scaler that starts at 2^16 and halves reaches 2^6 by then
GROWN = 100.0  # the gradient or the loss over its earlier median
RECOVERY_STEPS = 3

OPERATIONS = {
    "log": ("invalid-operation", "log of 0 or of a negative number; keep its argument above 0"),
    "sqrt": ("invalid-operation", "the slope of sqrt at 0 is infinite; keep its argument above 0"),
    "rsqrt": ("invalid-operation", "1/sqrt of 0; keep its argument above 0"),
    "div": ("invalid-operation", "a division by 0; keep the divisor away from it"),
    "reciprocal": ("invalid-operation", "a division by 0; keep the divisor away from it"),
    "pow": ("invalid-operation", "a power whose value or slope is infinite at this input"),
    "linalgvectornorm": ("invalid-operation", "the slope of a norm at 0 is not defined"),
    "acos": ("invalid-operation", "the slope of acos at 1 is infinite"),
    "asin": ("invalid-operation", "the slope of asin at 1 is infinite"),
    "where": ("invalid-operation", "the branch that `where` leaves out is differentiated too: 0 times infinity is NaN"),
    "exp": ("precision-overflow", "exp overflows: above 88.7 in float32, above 11.1 in float16"),
}


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
        if first_bad(track) is not None:
            yield _finding(history, track)
        elif (streak := _longest_streak(track.skipped))[1] >= MANY_SKIPS or (not history.live and _never_finite(track)):
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
    causes, remedies = _causes(history, track, row, stage, event)
    says = _says(track, row, stage, event)
    if survived:
        says += f"; the training went on with finite numbers ({len(bad):,} such {'step' if len(bad) == 1 else 'steps'})"
    return Finding(
        "non-finite",
        "warning" if survived else "fatal",
        step,
        int(track.step[last]),
        says,
        _where(history, track, event),
        _readings(track, row, stage, len(bad)),
        tuple(causes),
        tuple(remedies),
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
    """Finite steps followed the last non-finite one; at the end of the record, the optimizer never got any of it."""
    if len(track) - 1 - int(bad[-1]) >= RECOVERY_STEPS:
        return True
    return len(bad) < RECOVERY_STEPS and all(_handled(track, int(row)) for row in bad)


def _says(track: Track, row: int, stage: str, event: Event | None) -> str:
    step = int(track.step[row])
    data = event.data if event else {}
    value = number(float(track.columns["loss"][row])) if track.has_loss[row] else "not seen"
    passes = int(track.columns["backwards"][row])
    batch = f" (backward pass {data['backward_pass']} of {passes})" if passes > 1 and "backward_pass" in data else ""
    if stage == "weights":
        begin = "from the start" if row == 0 else "after the update of the step before"
        return f"the weights hold NaN or infinity at step {step}, {begin}: {listed(_names(data, 'weights_nonfinite'))}"
    if stage == "forward":
        op = data.get("forward") or {}
        source = _operation_text(op) if isinstance(op, dict) and op else ""
        return f"the loss became {value} at step {step}{batch}" + (f", first in {source}" if source else "")
    names = _names(data, "tensors")
    place = f", first in {names[0]}" if names else ""
    return f"the gradient became non-finite at step {step}{batch}{place}, while the loss was {value}"


def _operation_text(op: dict[str, Any]) -> str:
    text = str(op.get("op") or "an operation")
    place = op.get("module") or op.get("tensor")
    return f"{text} after {place}" if place else text


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


def _causes(history: History, track: Track, row: int, stage: str, event: Event | None) -> tuple[list[Cause], list[str]]:
    causes: list[Cause] = []
    remedies: list[str] = []
    growth = _growth(track, row)
    if growth:
        causes.append(learning_rate_too_high(track, grew=growth))
        remedies += [lower_rate(track), *clip_remedy(track)]
    if event and isinstance(op := event.data.get("forward"), dict) and (known := _known_operation(op)):
        causes.insert(0 if not growth else 1, known)
    if stage == "weights" and row == 0:
        causes.append(Cause("invalid-operation", "the weights were non-finite before the first step"))
    elif not causes:
        quiet = "the loss and the gradient were ordinary until then" if row else "it is the very first step"
        causes.append(
            Cause(
                "bad-batch",
                f"{quiet}: look at the batch of step {int(track.step[row])} for NaN, infinity or a label out of range",
            )
        )
        causes.append(Cause("invalid-operation", "or an operation that has no finite value or slope there"))
    return causes, [*remedies, "skip=nonfinite"] if stage != "weights" else remedies


def _growth(track: Track, row: int) -> str:
    """What grew by two decades before the row, as a sentence; empty where nothing did."""
    for name, column in (("the gradient norm", "grad_norm_raw"), ("the loss", "loss")):
        values = np.abs(np.asarray(track.columns[column], dtype=np.float64)[max(0, row - 200) : row])
        values = values[np.isfinite(values)]
        if len(values) < 2:
            continue
        start, peak = float(np.median(values[: max(1, len(values) // 2)])), float(values[-3:].max())
        if start > 0 and peak > GROWN * min(start, float(values[0]) or start):
            return f"{name} grew from {number(float(values[0]))} to {number(peak)} before it"
    return ""


def _known_operation(op: dict[str, Any]) -> Cause | None:
    """The cause that the operation names: outside of its domain, or given what was non-finite already."""
    name, what = str(op.get("op") or "").lower(), str(op.get("what") or "")
    given = f" ({_shown(op['input'])})" if op.get("input") else ""
    if "input is already not finite" in what:
        return Cause("bad-batch", f"what the first operation to use it ({name}) was given held NaN or infinity{given}")
    if "result is not finite" in what:
        return Cause("precision-overflow", f"the result of {name} went beyond the range of its number format{given}")
    for key in sorted(OPERATIONS, key=len, reverse=True):
        if name.startswith(key) and not name.startswith(("logsoftmax", "logsumexp", "log_softmax")):
            cause, why = OPERATIONS[key]
            return Cause(cause, f"{why}{given}")
    return None


def _shown(given: Any) -> str:
    """ "3 of 64 entries not finite, the others 0 to 12.1"."""
    if not isinstance(given, dict):
        return str(given)
    known = {key: float(value) for key, value in given.items() if isinstance(value, int | float)}
    words = []
    if known.get("nonfinite"):
        words.append(f"{known['nonfinite']:,.0f} of {known.get('entries', 0):,.0f} entries not finite")
    if "min" in known and "max" in known:
        others = "the others " if words else "entries "
        words.append(f"{others}{number(known['min'])} to {number(known['max'])}")
    return ", ".join(words)


def _longest_streak(flags: Array) -> tuple[int, int]:
    """(first row, length) of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(lengths))
    return int(starts[longest]), int(lengths[longest])


def _scaler_finding(history: History, track: Track, row: int, length: int) -> Finding:
    last = row + length - 1
    ended = last < len(track) - RECOVERY_STEPS
    scale = float(track.columns["loss_scale"][last])
    losses = track.loss[track.loss_rows >= row]
    hopeless = not ended and len(losses) > 0 and not np.isfinite(losses).any()
    what = f"the loss was {number(float(losses[0]))} at each" if hopeless else "each gradient overflowed"
    return Finding(
        "non-finite",
        "warning" if ended else "fatal" if hopeless else "serious",
        int(track.step[row]),
        int(track.step[last]),
        f"the gradient scaler withheld {length} steps in a row from step {int(track.step[row])} on: {what}"
        + (f", and its scale fell to {number(scale)}" if np.isfinite(scale) else ""),
        _where(history, track, next(iter(history.events_of("nonfinite", track)), None)),
        {"skipped_in_a_row": length, "threshold": MANY_SKIPS, "loss_scale": scale},
        (
            Cause(
                "precision-overflow",
                "half precision ends at 65,504; now and then a skip is normal, ten in a row are not",
            ),
            Cause("invalid-operation", "or a NaN that no scale can cure"),
        ),
    )


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
        "A gradient that the script itself caught, if the training went on with finite numbers: a warning.",
        "A finite norm of 1e30: that is exploding-gradient.",
    ),
    threshold=f"None: one entry is enough. {MANY_SKIPS} withheld steps in a row take PyTorch's scaler from 2^16 to "
    "2^6 (its default halves the scale at each); to be calibrated.",
    causes=("learning-rate-too-high", "invalid-operation", "precision-overflow", "bad-batch", "labels-invalid"),
    remedies="If the gradient or the loss grew by a factor of 100 before it: lr*0.1, or clip=global:1.0. If not, look "
    "at the operation and at the batch of that step. skip=nonfinite leaves such a step out, which hides a bug "
    "that happens at every step.",
    rule=non_finite,
    sources=("Micikevicius et al. 2018, arXiv:1710.03740, sec. 3.2 (loss scaling)",),
    leads_to=frozenset({"diverging-loss", "stalled-loss", "exploding-gradient", "crash"}),
)
