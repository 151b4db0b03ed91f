"""Causes that lie in the arithmetic: formats that end, updates that round away, operations without a finite value."""

from __future__ import annotations

import math
import re

import numpy as np

from ..._language import t
from .._evidence import tensors
from .._history import Array, Track
from ._cause import EXACT, STRONG, WEAK, Case, Clue, KnownCause
from ._operation import forward_operation, nonfinite_event, shown
from ._process import exception_text
from ._readings import longest_streak, row_of, steps_with_modules
from ._step_size import grew, too_high

MANY_SKIPS = 10  # a scaler that starts at 2^16 and halves reaches 2^6 by then
LOST = 0.5  # share of the entries with a gradient that a step leaves as they were
SHORT = {"bfloat16": 8, "float16": 11}  # bits of the significand, the hidden one included
REFUSED = r"contains NaN|contains inf|must be finite|not finite|nan or inf"
LOGARITHMS_OF_SUMS = ("logsoftmax", "logsumexp", "log_softmax")


def _invalid_operation(case: Case) -> Clue | None:
    if case.trouble == "crash":
        if re.search(REFUSED, exception_text(case.history)):
            return Clue(t("the script refused a NaN or an infinity"), STRONG)
        return None
    event, op = nonfinite_event(case), forward_operation(case)
    if event.get("weights_nonfinite") and row_of(case) == 0:
        return Clue(t("the weights were non-finite before the first step"), EXACT)
    why = _reason(str(op.get("op") or "").lower(), str(op.get("what") or ""))
    if why:
        return Clue(why + shown(op), STRONG if grew(case) else EXACT)
    if case.trouble != "non-finite" or op or too_high(case) is not None:
        return None
    return Clue(t("an operation may have no finite value or slope there"), WEAK)


def _reason(name: str, what: str) -> str:
    """Why an operation has no finite value or slope where it was used; empty where it is another cause's."""
    if "result is not finite" in what or "input is already not finite" in what:
        return ""
    reasons = {
        "linalgvectornorm": t("the slope of a norm at 0 is not defined"),
        "reciprocal": t("a division by 0; keep the divisor away from it"),
        "rsqrt": t("1/sqrt of 0; keep its argument above 0"),
        "where": t("the branch that `where` leaves out is differentiated too: 0 times infinity is NaN"),
        "sqrt": t("the slope of sqrt at 0 is infinite; keep its argument above 0"),
        "acos": t("the slope of acos at 1 is infinite"),
        "asin": t("the slope of asin at 1 is infinite"),
        "div": t("a division by 0; keep the divisor away from it"),
        "pow": t("a power whose value or slope is infinite at this input"),
        "log": t("log of 0 or of a negative number; keep its argument above 0"),
    }
    if name.startswith(LOGARITHMS_OF_SUMS):
        return ""
    return next((why for key, why in reasons.items() if name.startswith(key)), "")


def _overflow(case: Case) -> Clue | None:
    first, length = longest_streak(withheld(case.track))
    by_scaler = length >= MANY_SKIPS and not is_withheld_by_guard(case.track)
    if by_scaler and int(case.track.step[first]) == case.first_step:
        why = t("half precision ends at 65,504; now and then a skip is normal, ten in a row are not")
        return Clue(why, STRONG, ("precision=bf16",))
    op = forward_operation(case)
    name, what = str(op.get("op") or "").lower(), str(op.get("what") or "")
    if name.startswith("exp"):
        why = t("exp overflows: above 88.7 in float32, above 11.1 in float16") + shown(op)
        return Clue(why, STRONG if too_high(case) else EXACT)
    if "result is not finite" in what:
        why = t("the result of {op} went beyond the range of its number format", op=name) + shown(op)
        return Clue(why, STRONG)
    if case.trouble == "non-finite" and "float16" in _formats(case.track) and not _is_scaled(case.track):
        why = t("the weights are float16, which ends at 65,504, and no gradient scaler is used")
        return Clue(why, STRONG, ("precision=bf16",))
    return None


def _formats(track: Track) -> set[str]:
    return {str(entry.get("dtype")) for entry in tensors(track)}


def withheld(track: Track) -> Array:
    """Shape (rows,): steps left out since a gradient was not finite. A policy may leave out others too."""
    if is_withheld_by_guard(track):
        return track.skipped & (np.asarray(track.columns["nonfinite"]) > 0)
    return track.skipped


def is_withheld_by_guard(track: Track) -> bool:
    """Steps that were left out were so by a policy: no gradient scaler is at work."""
    return bool(track.series.info.get("policies")) and not _is_scaled(track)


def _is_scaled(track: Track) -> bool:
    scale = np.asarray(track.columns["loss_scale"], dtype=np.float64)
    return bool(np.any(np.isfinite(scale) & (scale != 1)))


def _lost_in_rounding(case: Case) -> Clue | None:
    """Weights in half precision, which a step mostly leaves exactly as they were."""
    shapes = {
        str(e["name"]): math.prod(int(n) for n in e["shape"]) for e in tensors(case.track) if e.get("dtype") in SHORT
    }
    shares = [share for step in steps_with_modules(case.track)[1:] if math.isfinite(share := _lost(case, step, shapes))]
    if not shapes or not shares or not np.median(shares) > LOST:
        return None
    share = float(np.median(shares))
    number_format = next(iter(sorted(_formats(case.track) & set(SHORT))))
    why = t(
        "a step leaves {share} of the weights exactly as they were: {format} keeps {bits} bits, and a smaller change "
        "rounds away",
        share=f"{share:.0%}",
        format=number_format,
        bits=SHORT[number_format],
    )
    return Clue(why, EXACT if share > 0.9 else STRONG, ("precision=fp32",))


def _lost(case: Case, step: int, shapes: dict[str, int]) -> float:
    """Share of the half-precision weights that the step left as they were, over all tensors that were measured."""
    rows = case.track.series.tensors(step)
    shares = np.asarray(rows.get("lost_updates", ()), dtype=np.float64)
    known = [(shapes[name], float(share)) for name, share in zip(rows.get("tensor", ()), shares, strict=False)
             if name in shapes and math.isfinite(share)]  # fmt: skip
    total = sum(size for size, _ in known)
    return sum(size * share for size, share in known) / total if total else math.nan


CAUSES = (
    KnownCause(
        "precision-overflow",
        "Half precision ends at 65,504 and exp overflows above 11.1 in it (88.7 in single precision). Try "
        "bfloat16, or float32 for that operation.",
        _overflow,
    ),
    KnownCause(
        "updates-lost-in-rounding",
        "Weights kept in half precision have a smallest change: bfloat16 has 8 bits, and an update of less than a "
        "512th of a weight leaves it as it was. Keep the weights in float32 and let autocast do the rest.",
        _lost_in_rounding,
    ),
    KnownCause(
        "invalid-operation",
        "An operation without a finite value or slope at its input: log of 0, sqrt or a norm at 0, a division by "
        "0, 0 times infinity in the branch that `where` leaves out. Keep its argument away from there.",
        _invalid_operation,
    ),
)
