"""The page of a trouble, as plain text for the terminal and as Markdown for the documentation."""

from __future__ import annotations

import shutil
from typing import Any

from trimtab.findings import CAUSES, TROUBLES, Trouble

from .._language import described, t
from ._folded import divided

MAX_WIDTH = 88


def as_json(found: Trouble | str | None) -> Any:
    """What `--json` prints: a trouble's fields, a cause's paragraph, or the list of both."""
    if found is None:
        return {"troubles": {trouble.name: trouble.summary for trouble in TROUBLES}, "causes": CAUSES}
    if isinstance(found, str):
        return {"cause": found}
    fields = ("name", "summary", "measures", "hurts", "is_not", "threshold", "causes", "remedies", "sources")
    return {name: getattr(found, name) for name in fields}


def listing() -> str:
    """All names, a line each."""
    wide = max(map(len, [*CAUSES, *(trouble.name for trouble in TROUBLES)])) + 2
    troubles = [_fold(described(trouble.name, trouble.summary), trouble.name, wide) for trouble in TROUBLES]
    causes = [_fold(described(name, _first_sentence(text)), name, wide) for name, text in CAUSES.items()]
    titles = t("Troubles: what is seen"), t("Causes: what, once changed, cures it")
    following = t("next: {command}", command="trimtab explain NAME")
    return "\n".join([titles[0], *troubles, "", titles[1], *causes, "", following])


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].split(": ")[0].rstrip(".") + "."


def text(name: str, found: Trouble | str) -> str:
    """A page of plain text, folded to the terminal. Headings and the summary are in the language spoken."""
    if isinstance(found, str):
        summary = described(name, "")
        return "\n\n".join([t("{name}: a cause", name=name), *filter(None, [summary and _fold(summary)]), _fold(found)])
    blocks = [f"{found.name}", _fold(described(found.name, found.summary))]
    for title, content in sections(found):
        lines = (
            [_fold(f"- {item}", hang="    ") for item in content] if isinstance(content, tuple) else [_fold(content)]
        )
        blocks.append("\n".join([title, *lines]))
    return "\n\n".join(blocks)


def markdown(trouble: Trouble) -> str:
    """docs/troubles/NAME.md."""
    blocks = [f"# {trouble.name}", trouble.summary]
    for title, content in sections(trouble):
        body = "\n".join(f"- {item}" for item in content) if isinstance(content, tuple) else content
        blocks += [f"## {title}", body]
    return "\n\n".join(blocks) + "\n"


def sections(trouble: Trouble) -> list[tuple[str, str | tuple[str, ...]]]:
    """Title and content of each section, in order."""
    causes = tuple(f"{name}: {CAUSES[name]}" for name in trouble.causes)
    found: list[tuple[str, str | tuple[str, ...]]] = [
        (t("What is measured"), trouble.measures),
        (t("Why it hurts"), trouble.hurts),
        (t("What it is not"), trouble.is_not),
        (t("Threshold"), trouble.threshold),
        (t("Causes"), causes),
        (t("What to try"), trouble.remedies),
        (t("Sources"), trouble.sources),
    ]
    return [(title, content) for title, content in found if content]


def _fold(words: str, label: str = "", wide: int = 0, hang: str = "  ") -> str:
    width = max(30, min(MAX_WIDTH, shutil.get_terminal_size((80, 24)).columns))
    first = f"  {label:<{wide}}" if label else "  "
    later = " " * (wide + 2) if label else hang
    lines = divided(words, width - len(later))
    return "\n".join((first if i == 0 else later) + text for i, text in enumerate(lines))
