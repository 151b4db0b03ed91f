"""The evidence of a finding as a small curve or bar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from trimtab.findings import Finding, Track, number

from .._language import t
from ._curves import Floats, curve_around, track_of
from ._spark import bar, sparkline

if TYPE_CHECKING:
    from trimtab.findings import RecordLike

CURVE_WIDTH = 24
Row = tuple[str, str]


def seen(finding: Finding, record: RecordLike, ascii_only: bool) -> Iterator[Row]:
    """Label and text of each row of evidence; none where a curve would show nothing."""
    if (depth := _by_depth(finding, ascii_only)) is not None:
        yield depth
        return
    draw, track = DRAWN.get(finding.kind), track_of(finding, record)
    if draw is not None and track is not None:
        yield from draw(finding, track, record, ascii_only)


def _by_depth(finding: Finding, ascii_only: bool) -> Row | None:
    evidence = finding.evidence or {}
    levels = evidence.get("by_depth")
    if not isinstance(levels, list | tuple) or len(levels) < 2:
        return None
    curve = sparkline(np.asarray(levels, dtype=np.float64), CURVE_WIDTH, ascii_only=ascii_only)
    first, last = f"10^{float(levels[0]):.1f}", f"10^{float(levels[-1]):.1f}"
    label = t("gradient") if evidence.get("direction") == "backward" else t("signal")
    return label, f"{curve:<{CURVE_WIDTH}}  " + t("{first} → {last}, first to last layer", first=first, last=last)


def _loss_around(finding: Finding, track: Track, _: RecordLike, ascii_only: bool) -> Iterator[Row]:
    """The loss around the first step; the gradient where it was that, and not the loss, that went."""
    values = curve_around(track, "loss", finding.first_step)
    evidence = finding.evidence or {}
    of_gradient = "grad_norm" in evidence if finding.kind == "loss-spike" else np.isfinite(values).all()
    if of_gradient:
        yield from _gradient_around(finding, track, _, ascii_only)
    else:
        yield t("loss"), curve_text(values, ascii_only)


def _gradient_around(finding: Finding, track: Track, _: RecordLike, ascii_only: bool) -> Iterator[Row]:
    yield t("gradient"), curve_text(curve_around(track, "grad_norm_raw", finding.first_step), ascii_only)


def _whole_loss(_: Finding, track: Track, __: RecordLike, ascii_only: bool) -> Iterator[Row]:
    values = _with_its_end(track.loss)
    if len(values):
        chance = t("chance {level}", level=number(track.chance)) if np.isfinite(track.chance) else ""
        yield t("loss"), curve_text(values, ascii_only) + (f"  ({chance})" if chance else "")


def _with_its_end(values: Floats) -> Floats:
    """The values up to the last finite one, and what is not finite after it for a quarter as long."""
    finite = np.flatnonzero(np.isfinite(values))
    last = int(finite[-1]) + 1 if len(finite) else 0
    return values[: last + max(2, last // 4)]


def _held_out(finding: Finding, track: Track, record: RecordLike, ascii_only: bool) -> Iterator[Row]:
    """The training loss over the validation loss, each drawn on its own scale."""
    yield t("training"), curve_text(track.loss, ascii_only)
    values = _metric(record, str((finding.evidence or {}).get("metric", "")))
    if len(values):
        least, ends = float(values.min()), min(float(values[0]), float(values[-1]))
        best = t(", ") + t("least {least}", least=number(least)) if least < ends else ""
        yield t("held out"), curve_text(values, ascii_only) + best


def _metric(record: RecordLike, name: str) -> Floats:
    """The finite values of a metric."""
    metrics = record.metrics()
    if not metrics or not len(metrics["name"]):
        return np.zeros(0)
    values = np.asarray(metrics["value"], dtype=np.float64)[np.asarray(metrics["name"]) == name]
    return np.asarray(values[np.isfinite(values)])


def _share(finding: Finding, _: Track, __: RecordLike, ascii_only: bool) -> Iterator[Row]:
    share = (finding.evidence or {}).get("share")
    if isinstance(share, int | float) and np.isfinite(share):
        yield t("share"), f"{bar(float(share), CURVE_WIDTH, ascii_only=ascii_only)}  {share:.0%}"


def _outputs(_: Finding, track: Track, __: RecordLike, ascii_only: bool) -> Iterator[Row]:
    spread = np.asarray(track.series.losses.get("output_spread", ()), dtype=np.float64)
    spread = spread[np.isfinite(spread)]
    if len(spread):
        yield t("outputs"), curve_text(spread, ascii_only) + "  " + t("spread over the rows of a batch")


DRAWN = {
    "exploding-gradient": _gradient_around,
    "non-finite": _loss_around,
    "loss-spike": _loss_around,
    "diverging-loss": _whole_loss,
    "stalled-loss": _whole_loss,
    "slow-loss": _whole_loss,
    "oscillating-loss": _whole_loss,
    "overfitting": _held_out,
    "dead-units": _share,
    "saturated-units": _share,
    "idle-parameter": _share,
    "constant-output": _outputs,
}


def curve_text(values: Floats, ascii_only: bool) -> str:
    """ "▇▅▃▁▁▁  2.31 → 0.007, peak 12": a curve, its ends, and its largest value where the ends do not show it."""
    curve = np.asarray(values, dtype=np.float64)
    if not len(curve):
        return t("not seen")
    if len(curve) == 1:
        return number(float(curve[0]))
    drawn = sparkline(curve, CURVE_WIDTH, ascii_only=ascii_only)
    ends = f"{number(float(curve[0]))} → {number(float(curve[-1]))}"
    finite = curve[np.isfinite(curve)]
    peak = float(finite[np.argmax(np.abs(finite))]) if len(finite) else float("nan")
    beyond = np.isfinite(peak) and abs(peak) > 2 * max(abs(float(finite[0])), abs(float(finite[-1])))
    top = t(", ") + t("peak {peak}", peak=number(peak)) if beyond else ""
    return f"{drawn:<{CURVE_WIDTH}}  {ends}{top}"
