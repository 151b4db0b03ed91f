"""The verdict as a page in the terminal, and a finding as one line of stderr."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trimtab.findings import at_least, plural, unseen

from .._language import spoken, t
from ._findings import finding_block
from ._run_block import run_block, shown_path
from ._style import (
    DIM,
    MAX_WIDTH,
    NAME,
    OUTCOME_LOOKS,
    clean,
    folded,
    for_terminal,
    grid,
    is_ascii,
    line,
    outcome_words,
)

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
    kind, says = clean(finding.kind), clean(finding.says)
    return t("trimtab: step {step}: {kind}: {says}", step=finding.first_step, kind=kind, says=says)


def headline(verdict: Verdict) -> tuple[str, Finding | None]:
    """The verdict as a sentence, and the finding that it tells of, if any."""
    lead = verdict.findings[0] if verdict.findings and at_least(verdict.findings[0].severity, "serious") else None
    if verdict.outcome == "interrupted":
        return verdict.reason or t("before its end"), None
    if verdict.outcome == "unjudged":
        return verdict.reason or t("the record does not say enough"), None
    if lead is not None:
        return lead.says, lead
    return next(iter((*verdict.compared, verdict.reason)), ""), None


def _pieces(verdict: Verdict, record: RecordLike, ascii_only: bool, running: bool) -> Iterator[RenderableType]:
    sentence, told = headline(verdict)
    if running and told is None:
        sentence = t("{steps} so far, nothing wrong yet", steps=plural(verdict.steps, "step"))
    yield ""
    yield _headline_block("running" if running else verdict.outcome, sentence, ascii_only)
    shown = verdict.findings[:MAX_FINDINGS]
    for index, finding in enumerate(shown, 1):
        yield ""
        yield from finding_block(finding, record, index, said=finding is told, ascii_only=ascii_only)
    if len(verdict.findings) > len(shown):
        more = t("and {count} more in verdict.json", count=len(verdict.findings) - len(shown))
        yield line((f"\n   {for_terminal(more, ascii_only)}", DIM))
    yield from _parts(verdict, ascii_only)
    yield from _list(t("Compared"), [text for text in verdict.compared if text != sentence], ascii_only)
    # What the headline says is not said again.
    unmeasured = [text for text in unseen(record) if text.lower() not in sentence.lower()]
    yield from _list(t("Not seen"), unmeasured, ascii_only)
    yield from _title(t("This run"), ascii_only)
    yield run_block(verdict, record, ascii_only=ascii_only, running=running)
    if command := next_command(verdict, record):
        yield ""
        yield line((" " + for_terminal(t("next: {command}", command=command), ascii_only), DIM))


def _headline_block(outcome: str, sentence: str, ascii_only: bool) -> RenderableType:
    look = OUTCOME_LOOKS[outcome]
    said = for_terminal(clean(_sentence(sentence)), ascii_only)
    words = for_terminal(_sentence(outcome_words(outcome)), ascii_only)
    table = grid(label=0)
    table.add_row(
        line((f" {look.plain_sign if ascii_only else look.sign}", look.style)),
        "",
        folded((words, look.style), "" if spoken() == "zh" else " ", (said, NAME)),
    )
    return table


def _title(title: str, ascii_only: bool) -> Iterator[RenderableType]:
    yield ""
    yield line((" " + for_terminal(title, ascii_only), NAME))


def _list(title: str, sentences: list[str], ascii_only: bool) -> Iterator[RenderableType]:
    """A title and a line for each sentence; nothing where there is none."""
    if not sentences:
        return
    yield from _title(title, ascii_only)
    table = grid(label=0)
    for text in sentences:
        table.add_row("", "", folded(for_terminal(clean(text), ascii_only)))
    yield table


def _parts(verdict: Verdict, ascii_only: bool) -> Iterator[RenderableType]:
    if not verdict.parts:
        return
    yield from _title(t("Models trained in turn"), ascii_only)
    table = grid(label=11)
    for number, part in enumerate(verdict.parts, 1):
        what, steps = _trained(part.name, number), plural(part.steps, "step")
        says = t("{name}: {says}", name=what, says=steps) if what else steps
        text = t("part {number}: {says}", number=number, says=says) + t("; ") + headline(part)[0]
        outcome = for_terminal(outcome_words(part.outcome), ascii_only)
        table.add_row("", outcome, folded(for_terminal(clean(text), ascii_only)))
    yield table


def _trained(name: str, number: int) -> str:
    """What a part trained, of its name "part 2: SGD on MLP"."""
    what = name.removeprefix(f"part {number}").removeprefix(": ")
    optimizer, on, model = what.partition(" on ")
    return t("{optimizer} on {model}", optimizer=optimizer, model=model) if on else what


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
    if text.endswith((".", "!", "?", "。", "！", "？")):
        return text
    return f"{text}。" if spoken() == "zh" else f"{text}."
