"""The table of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trimtab.findings import number

from ._run_block import duration
from ._style import DIM, OUTCOME_LOOKS, Look, clean, is_ascii, line

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
    table.add_column("run", overflow="fold", min_width=17)
    narrow = console.width < 70
    if not narrow:
        table.add_column("program", max_width=14, overflow="ellipsis", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for title in ("steps", "loss") if narrow else ("steps", "loss", "time", "size"):
        table.add_column(title, justify="right", no_wrap=True)
    for run in runs[:FIRST]:
        table.add_row(*_cells(run, narrow, is_ascii(console)))
    console.print(table, markup=False, highlight=False)
    if len(runs) > FIRST:
        console.print(
            f"and {len(runs) - FIRST} older ones (`trimtab show --json` lists all)", markup=False, highlight=False
        )
    console.print(line((f"\nnext: trimtab show {clean(runs[0].name)}", DIM)))


def _cells(run: Line, narrow: bool, ascii_only: bool) -> list[RenderableType]:
    look = OUTCOME_LOOKS.get(run.outcome, Look("?", "?", clean(run.outcome), ""))
    sign = look.plain_sign if ascii_only else look.sign
    steps = "" if run.steps is None else f"{run.steps:,}"
    loss = "" if run.loss is None else number(run.loss)
    cells: list[RenderableType] = [line(clean(run.name)), line((f"{sign} {look.words}", look.style)), steps, loss]
    if not narrow:
        cells.insert(1, line(clean(run.program)))
        cells += ["" if run.seconds is None else duration(run.seconds), size_text(run.bytes)]
    return cells


def size_text(count: int) -> str:
    """ "812 B", "1.4 MB"."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
