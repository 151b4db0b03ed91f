"""The table of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trimtab.findings import number

from .._language import t
from ._run_block import duration
from ._style import DIM, OUTCOME_LOOKS, UNKNOWN_LOOK, clean, for_terminal, is_ascii, line, outcome_words

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

FIRST = 20  # runs that a terminal shows; --json has all


class Line(Protocol):
    """What the table shows of a run; what is not known is None."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def program(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def steps(self) -> int | None: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def bytes(self) -> int: ...


def runs_table(runs: Sequence[Line], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style=DIM, pad_edge=False)
    narrow, ascii_only = console.width < 70, is_ascii(console)
    titles = [t("steps"), t("loss")] if narrow else [t("steps"), t("loss"), t("time"), t("size")]
    table.add_column(for_terminal(t("run"), ascii_only), overflow="fold", min_width=17)
    if not narrow:
        table.add_column(for_terminal(t("program"), ascii_only), max_width=14, overflow="ellipsis", no_wrap=True)
    table.add_column(for_terminal(t("outcome"), ascii_only), no_wrap=True)
    for title in titles:
        table.add_column(for_terminal(title, ascii_only), justify="right", no_wrap=True)
    for run in runs[:FIRST]:
        table.add_row(*_cells(run, narrow, ascii_only))
    console.print(table, markup=False, highlight=False)
    if len(runs) > FIRST:
        more = t("and {count} older ones (`trimtab show --json` lists all)", count=len(runs) - FIRST)
        console.print(for_terminal(more, ascii_only), markup=False, highlight=False)
    following = t("next: {command}", command=f"trimtab show {clean(runs[0].name)}")
    console.print(line((f"\n{for_terminal(following, ascii_only)}", DIM)))


def _cells(run: Line, narrow: bool, ascii_only: bool) -> list[RenderableType]:
    look = OUTCOME_LOOKS.get(run.outcome, UNKNOWN_LOOK)
    sign = look.plain_sign if ascii_only else look.sign
    steps = "" if run.steps is None else f"{run.steps:,}"
    loss = "" if run.loss is None else number(run.loss)
    outcome = for_terminal(f"{sign} {outcome_words(run.outcome)}", ascii_only)
    cells: list[RenderableType] = [line(clean(run.name)), line((outcome, look.style)), steps, loss]
    if not narrow:
        cells.insert(1, line(clean(run.program)))
        time = "" if run.seconds is None else for_terminal(duration(run.seconds), ascii_only)
        cells += [time, size_text(run.bytes)]
    return cells


def size_text(count: int) -> str:
    """ "812 B", "1.4 MB"."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
