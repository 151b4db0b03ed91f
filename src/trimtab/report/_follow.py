"""A run as it goes on: a live view in a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, TextIO, TypeVar

import numpy as np

from trimtab.findings import Finding, RecordLike, Track, Verdict, number, plural

from .._language import t
from ._curves import tracks_of
from ._run_block import optimizer_text
from ._seen import curve_text
from ._style import (
    DIM,
    GOOD,
    NAME,
    SEVERITY_STYLES,
    clean,
    folded,
    for_terminal,
    grid,
    is_ascii,
    line,
    outcome_words,
    severity_words,
)
from .terminal import event_line, page

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType

LINE_SECONDS = 5.0  # between plain lines
RATE_STEPS = 100


class ShownLike(Protocol):
    @property
    def record(self) -> RecordLike: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def running(self) -> bool: ...


Shown = TypeVar("Shown", bound=ShownLike)


def follow(states: Iterable[Shown], stream: TextIO, *, quiet: bool = False) -> Shown | None:
    """Show each state until the last one, whose page is printed in full; `quiet` prints nothing. Returns the last."""
    from rich.console import Console

    console = Console(file=stream)
    if quiet:
        return _last(states)
    last = _live(states, console) if console.is_terminal and not console.is_dumb_terminal else _lines(states, console)
    if last is not None:
        page(last.verdict, last.record, console)
    return last


def _last(states: Iterable[Shown]) -> Shown | None:
    last = None
    for last in states:  # noqa: B007 - only the last one counts
        pass
    return last


def _live(states: Iterable[Shown], console: Console) -> Shown | None:
    from rich.live import Live

    last = None
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for last in states:
            if last.running:
                live.update(view(last, is_ascii(console)), refresh=True)
    return last


def _lines(states: Iterable[Shown], console: Console) -> Shown | None:
    last, due, told, ascii_only = None, 0.0, set[str](), is_ascii(console)
    for last in states:
        for finding in _findings(last.verdict):
            if finding.kind not in told and last.running:
                told.add(finding.kind)
                console.print(line(for_terminal(event_line(finding), ascii_only)), soft_wrap=True)
        if last.running and time.monotonic() >= due:
            due = time.monotonic() + LINE_SECONDS
            console.print(line(for_terminal(status_line(last.record), ascii_only)), soft_wrap=True)
    return last


def view(shown: ShownLike, ascii_only: bool) -> Group:
    """The live view: step and rate, the curves, the findings so far."""
    from rich.console import Group

    def plain(text: str) -> str:
        return for_terminal(clean(text), ascii_only)

    record = shown.record
    table = grid()
    for label, text in _rows(record, ascii_only):
        table.add_row("", plain(label), folded(plain(text)))
    name = clean(getattr(record, "name", "run"))
    pieces: list[RenderableType] = [line((f" {plain(outcome_words('running'))} ", GOOD), (name, NAME)), table]
    for finding in _findings(shown.verdict):
        severity = (plain(severity_words(finding.severity)), SEVERITY_STYLES.get(finding.severity, ""))
        pieces.append(folded(" ", (clean(finding.kind), NAME), "  ", severity, f"  {plain(finding.says)}"))
    if not shown.verdict.findings:
        pieces.append(line((" " + plain(t("nothing wrong so far")), DIM)))
    pieces.append(line((" " + plain(t("Ctrl-C leaves this view; the training goes on")), DIM)))
    return Group(*pieces)


def _rows(record: RecordLike, ascii_only: bool) -> list[tuple[str, str]]:
    tracks = tracks_of(record)
    if not tracks:
        return [(t("steps"), t("none yet"))]
    rows = [(t("steps"), _steps_text(tracks[0]))]
    for track in [other for other in tracks if other.process == tracks[0].process][:3]:
        rows.append(("", optimizer_text(track)))
        rows.append((t("loss"), curve_text(track.loss, ascii_only)))
        rows.append((t("gradient"), curve_text(track.columns["grad_norm_raw"], ascii_only)))
    return rows


def status_line(record: RecordLike) -> str:
    """ "1,234 steps, 49.1 a second  loss 0.21  gradient 1.2"."""
    tracks = tracks_of(record)
    if not tracks:
        return t("no step yet")
    track = tracks[0]
    loss = number(float(track.loss[-1])) if len(track.loss) else t("not seen")
    gradient = number(float(track.columns["grad_norm_raw"][-1]))
    return t("{steps}  loss {loss}  gradient {gradient}", steps=_steps_text(track), loss=loss, gradient=gradient)


def _steps_text(track: Track) -> str:
    times = np.asarray(track.time[-RATE_STEPS:], dtype=np.float64)
    rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else float("nan")
    shown = t(", ") + t("{rate} a second", rate=number(float(rate))) if np.isfinite(rate) else ""
    return f"{plural(track.last_step + 1, 'step')}{shown}"


def _findings(verdict: Verdict) -> list[Finding]:
    return [finding for part in (verdict, *verdict.parts) for finding in part.findings]
