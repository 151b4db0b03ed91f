"""A finding as a block: its name and extent, where, the evidence as a small curve, the cause, what to try."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from trimtab.findings import Finding, number

from ._curves import curve_around, track_of
from ._spark import sparkline
from ._style import DIM, NAME, SEVERITY_STYLES, clean, for_terminal, grid, line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from trimtab.findings import RecordLike

MAX_CAUSES = 3
MAX_PLACES = 3
CURVE_WIDTH = 30


def finding_block(
    finding: Finding, record: RecordLike, index: int, *, said: bool, ascii_only: bool
) -> list[RenderableType]:
    """Renderables of one finding. `said`: its sentence stands in the headline already."""
    style = SEVERITY_STYLES.get(finding.severity, "")
    status = ", confirmed" if finding.status == "confirmed" else ""
    header = line(
        f" {index} ",
        (clean(finding.kind), NAME),
        "  ",
        (finding.severity + status, style),
        (f"  {_extent(finding)}", DIM),
    )
    table = grid()
    for label, text in _rows(finding, record, said, ascii_only):
        table.add_row("", label, line(for_terminal(clean(text), ascii_only)))
    return [header, table]


def _rows(finding: Finding, record: RecordLike, said: bool, ascii_only: bool) -> Iterator[tuple[str, str]]:
    if not said:
        yield "what", finding.says
    if place := _places(finding):
        yield "where", place
    if (seen := _seen(finding, record, ascii_only)) is not None:
        yield seen
    for i, cause in enumerate(finding.causes[:MAX_CAUSES]):
        yield ("cause" if i == 0 else "or"), f"{cause.cause}: {cause.why}"
    for i, later in enumerate(finding.consequences):
        yield ("then" if i == 0 else ""), f"{later.kind}: {later.says}"
    if finding.remedies:
        yield "try", "   ".join(finding.remedies)


def _extent(finding: Finding) -> str:
    if finding.last_step <= finding.first_step:
        return f"step {finding.first_step:,}"
    return f"step {finding.first_step:,} to {finding.last_step:,}"


def _places(finding: Finding) -> str:
    texts = [text for place in finding.where if (text := place_text(place))]
    rest = len(texts) - MAX_PLACES
    return ", ".join(texts[:MAX_PLACES]) + (f" and {rest} more" if rest > 0 else "")


def place_text(place: object) -> str:
    """ "body.3.weight", "head (log), rank 3", "train.py:12 in forward"."""
    if not isinstance(place, dict):
        return ""
    if "file" in place:
        within = f" in {place['function']}" if place.get("function") else ""
        text = f"{place['file']}:{place.get('line', '?')}{within}"
    else:
        name = place.get("module") or place.get("tensor") or ""
        text = f"{name} ({place['op']})" if place.get("op") and name else str(name or place.get("op") or "")
    extra = [f"{key} {place[key]}" for key in ("rank", "optimizer") if key in place]
    return ", ".join([text, *extra] if text else extra)


def _seen(finding: Finding, record: RecordLike, ascii_only: bool) -> tuple[str, str] | None:
    by_depth = (finding.evidence or {}).get("by_depth")
    if isinstance(by_depth, list) and by_depth:
        curve = sparkline(by_depth, CURVE_WIDTH, ascii_only=ascii_only)
        what = "gradient" if (finding.evidence or {}).get("direction") == "backward" else "signal"
        return (
            "by depth",
            f"{curve}  {what} from 10^{by_depth[0]:.1f} in the first layer to 10^{by_depth[-1]:.1f} in the last",
        )
    column = {"exploding-gradient": "grad_norm_raw", "non-finite": "loss", "diverging-loss": "loss"}.get(finding.kind)
    track = track_of(finding, record) if column else None
    if column is None or track is None:
        return None
    if column == "loss" and not len(track.loss):
        column = "grad_norm_raw"
    values = curve_around(track, column, finding.first_step)
    if finding.kind == "diverging-loss" and column == "loss":
        values = track.loss
    return ("loss" if column == "loss" else "gradient"), _curve_text(values, ascii_only)


def _curve_text(values: np.ndarray[tuple[int], np.dtype[np.float64]], ascii_only: bool) -> str:
    if not len(values):
        return "not seen"
    finite = values[np.isfinite(values)]
    curve = sparkline(values, CURVE_WIDTH, ascii_only=ascii_only)
    if not len(finite):
        return f"{curve}  {number(float(values[0]))}"
    peak = float(finite[np.argmax(np.abs(finite))])
    ends = f"{number(float(finite[0]))} → {number(float(values[-1]))}"
    return f"{curve}  {ends}" + (f", at most {number(peak)}" if peak not in (finite[0], values[-1]) else "")
