"""A finding as a block: its name and extent, where, the evidence as a small curve, the cause, what to try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trimtab.findings import Finding

from .._language import t
from ._curves import track_of
from ._remedies import in_words
from ._seen import seen
from ._style import DIM, NAME, SEVERITY_STYLES, clean, folded, for_terminal, grid, line, severity_words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from trimtab.findings import Cause, RecordLike

MAX_CAUSES = 3
MAX_CONSEQUENCES = 3
MAX_PLACES = 3
MAX_REMEDIES = 3


def finding_block(
    finding: Finding, record: RecordLike, index: int, *, said: bool, ascii_only: bool
) -> list[RenderableType]:
    """Renderables of one finding. `said`: its sentence stands in the headline already."""
    table = grid()
    for label, text in _rows(finding, record, said, ascii_only):
        table.add_row("", label, folded(for_terminal(clean(text), ascii_only)))
    for label, text, hang in _remedies(finding, record):
        table.add_row("", label, folded(for_terminal(clean(text), ascii_only), hang=hang))
    return [_header(finding, index, ascii_only), table]


def _header(finding: Finding, index: int, ascii_only: bool) -> RenderableType:
    severity = severity_words(finding.severity)
    if finding.status == "confirmed":
        severity = t("{severity}, confirmed", severity=severity)
    return line(
        f" {index} ",
        (clean(finding.kind), NAME),
        "  ",
        (for_terminal(severity, ascii_only), SEVERITY_STYLES.get(finding.severity, "")),
        (f"  {for_terminal(extent(finding), ascii_only)}", DIM),
    )


def _rows(finding: Finding, record: RecordLike, said: bool, ascii_only: bool) -> Iterator[tuple[str, str]]:
    if not said:
        yield t("what"), finding.says
    if finding.severity == "note":
        return  # the training got over it
    if place := _places(finding):
        yield t("where"), place
    yield from seen(finding, record, ascii_only)
    yield from _causes(finding.causes)
    yield from _consequences(finding.consequences)


def _causes(causes: Sequence[Cause]) -> Iterator[tuple[str, str]]:
    for i, cause in enumerate(causes[:MAX_CAUSES]):
        text = t("{name}: {says}", name=cause.cause, says=cause.why) if cause.why else cause.cause
        yield (t("cause") if i == 0 else t("or")), text


def _consequences(later: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    for i, finding in enumerate(later[:MAX_CONSEQUENCES]):
        yield (t("then") if i == 0 else ""), t("{name}: {says}", name=finding.kind, says=finding.says)
    if len(later) > MAX_CONSEQUENCES:
        yield "", t("and {count} more", count=len(later) - MAX_CONSEQUENCES)


def _remedies(finding: Finding, record: RecordLike) -> Iterator[tuple[str, str, int]]:
    """A label, a remedy and what it means, and the column at which that begins and goes on."""
    if finding.severity == "note":
        return
    track = track_of(finding, record)
    said = [(clean(remedy), in_words(remedy, track)) for remedy in finding.remedies[:MAX_REMEDIES]]
    column = max((len(remedy) for remedy, words in said if words), default=0) + 2
    for i, (remedy, words) in enumerate(said):
        text, hang = (f"{remedy:<{column}}{words}", column) if words else (remedy, 0)
        yield (t("try") if i == 0 else ""), text, hang


def extent(finding: Finding) -> str:
    if finding.last_step <= finding.first_step:
        return t("step {step}", step=f"{finding.first_step:,}")
    return t("steps {first} to {last}", first=f"{finding.first_step:,}", last=f"{finding.last_step:,}")


def _places(finding: Finding) -> str:
    texts = [text for place in finding.where if (text := place_text(place))]
    first, rest = ", ".join(texts[:MAX_PLACES]), len(texts) - MAX_PLACES
    return t("{first} and {rest} more", first=first, rest=rest) if rest > 0 else first


def place_text(place: object) -> str:
    """ "body.3.weight", "head (log), rank 3", "train.py:12 in forward"."""
    if not isinstance(place, dict):
        return ""
    if "file" in place:
        text = f"{place['file']}:{place.get('line', '?')}"
        if place.get("function"):
            text = t("{place} in {function}", place=text, function=place["function"])
    else:
        name = place.get("module") or place.get("tensor") or ""
        text = f"{name} ({place['op']})" if place.get("op") and name else str(name or place.get("op") or "")
    extra = [t("rank {rank}", rank=place["rank"])] if "rank" in place else []
    extra += [t("optimizer {index}", index=place["optimizer"])] if "optimizer" in place else []
    return t(", ").join([text, *extra] if text else extra)
