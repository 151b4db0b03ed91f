"""The verdict as a page in the terminal, and a finding as one line of stderr."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trimtab.findings import at_least, plural, unseen

from ._findings import finding_block
from ._run_block import run_block, shown_path
from ._style import DIM, MAX_WIDTH, NAME, OUTCOME_LOOKS, clean, for_terminal, grid, is_ascii, line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from trimtab.findings import Finding, RecordLike, Verdict

MAX_FINDINGS = 6


def page(verdict: Verdict, record: RecordLike, console: Console, *, running: bool = False) -> None:
    """Print the page: the verdict in one sentence, the findings, what was compared, this run, what to type next.

    `running`: the training still goes on, and the verdict is what can be said so far.
    """
    width = min(console.width, MAX_WIDTH)
    ascii_only = is_ascii(console)
    for piece in _pieces(verdict, record, ascii_only, running):
        console.print(piece, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def event_line(finding: Finding) -> str:
    """One line of plain text: "trimtab: step 12: non-finite: the loss became NaN at step 12, first in log"."""
    return f"trimtab: step {finding.first_step}: {clean(finding.kind)}: {clean(finding.says)}"


def headline(verdict: Verdict) -> tuple[str, Finding | None]:
    """The verdict as a sentence, and the finding that it tells of, if any."""
    lead = verdict.findings[0] if verdict.findings and at_least(verdict.findings[0].severity, "serious") else None
    if verdict.outcome == "interrupted":
        return verdict.reason or "before its end", None
    if verdict.outcome == "unjudged":
        return verdict.reason or "the record does not say enough", None
    if lead is not None:
        return lead.says, lead
    return next(iter((*verdict.compared, verdict.reason)), ""), None


def _pieces(verdict: Verdict, record: RecordLike, ascii_only: bool, running: bool) -> Iterator[RenderableType]:
    look = OUTCOME_LOOKS["running" if running else verdict.outcome]
    sentence, told = headline(verdict)
    if running and told is None:
        sentence = f"{plural(verdict.steps, 'step')} so far, nothing wrong yet"
    yield ""
    said = for_terminal(clean(_sentence(sentence)), ascii_only)
    table = grid(label=0)
    table.add_row(
        line((f" {look.plain_sign if ascii_only else look.sign}", look.style)),
        "",
        line((f"{look.words}.", look.style), " ", (said, NAME)),
    )
    yield table
    shown = verdict.findings[:MAX_FINDINGS]
    for index, finding in enumerate(shown, 1):
        yield ""
        yield from finding_block(finding, record, index, said=finding is told, ascii_only=ascii_only)
    if len(verdict.findings) > len(shown):
        yield line((f"\n   and {len(verdict.findings) - len(shown)} more in verdict.json", DIM))
    yield from _parts(verdict, ascii_only)
    compared = [text for text in verdict.compared if text != sentence]
    if compared:
        yield ""
        yield line((" Compared", NAME))
        table = grid(label=0)
        for text in compared:
            table.add_row("", "", line(for_terminal(clean(text), ascii_only)))
        yield table
    yield from _not_seen(record, ascii_only, sentence)
    yield ""
    yield line((" This run", NAME))
    yield run_block(verdict, record, ascii_only=ascii_only, running=running)
    if command := next_command(verdict, record):
        yield ""
        yield line((f" next: {command}", DIM))


def _not_seen(record: RecordLike, ascii_only: bool, sentence: str) -> Iterator[RenderableType]:
    """What trimtab could not measure, and why, a line each; what the headline says is not said again."""
    lines = [text for text in unseen(record) if text.lower() not in sentence.lower()]
    if not lines:
        return
    yield ""
    yield line((" Not seen", NAME))
    table = grid(label=0)
    for text in lines:
        table.add_row("", "", line(for_terminal(clean(text), ascii_only)))
    yield table


def _parts(verdict: Verdict, ascii_only: bool) -> Iterator[RenderableType]:
    if not verdict.parts:
        return
    yield ""
    yield line((" Models trained in turn", NAME))
    table = grid(label=11)
    for part in verdict.parts:
        text = f"{part.name}: {part.steps:,} steps; {headline(part)[0]}"
        table.add_row("", OUTCOME_LOOKS[part.outcome].words, line(for_terminal(clean(text), ascii_only)))
    yield table


def next_command(verdict: Verdict, record: RecordLike) -> str:
    """What to type next; empty where there is no record to show and no trouble to explain."""
    path = getattr(record, "path", None)
    name = "" if path is None else path.name if path.parent.name == ".trimtab" else shown_path(path)
    worst = next((f.kind for f in verdict.findings), None)
    if worst:
        return f"trimtab explain {worst}"
    return f"trimtab show {shlex.quote(clean(name))}" if name else ""


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
