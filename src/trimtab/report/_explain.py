"""The page of a trouble, as plain text for the terminal and as Markdown for the documentation."""

from __future__ import annotations

import shutil
import textwrap
from typing import Any

from trimtab.findings import CAUSES, TROUBLES, Trouble

MAX_WIDTH = 88


def as_json(found: Trouble | str | None) -> Any:
    """What `--json` prints: a trouble's fields, a cause's paragraph, or the list of both."""
    if found is None:
        return {"troubles": {t.name: t.summary for t in TROUBLES}, "causes": CAUSES}
    if isinstance(found, str):
        return {"cause": found}
    fields = ("name", "summary", "measures", "hurts", "is_not", "threshold", "causes", "remedies", "sources")
    return {name: getattr(found, name) for name in fields}


def listing() -> str:
    """All names, a line each."""
    wide = max(map(len, [*CAUSES, *(t.name for t in TROUBLES)])) + 2
    troubles = [_fold(trouble.summary, trouble.name, wide) for trouble in TROUBLES]
    causes = [_fold(text.split(". ")[0].split(": ")[0].rstrip(".") + ".", name, wide) for name, text in CAUSES.items()]
    return "\n".join(
        [
            "Troubles: what is seen",
            *troubles,
            "",
            "Causes: what, once changed, cures it",
            *causes,
            "",
            "next: trimtab explain NAME",
        ]
    )


def text(name: str, found: Trouble | str) -> str:
    """A page of plain text, folded to the terminal."""
    if isinstance(found, str):
        return f"{name}: a cause\n\n{_fold(found)}"
    blocks = [f"{found.name}", _fold(found.summary)]
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
        ("What is measured", trouble.measures),
        ("Why it hurts", trouble.hurts),
        ("What it is not", trouble.is_not),
        ("Threshold", trouble.threshold),
        ("Causes", causes),
        ("What to try", trouble.remedies),
        ("Sources", trouble.sources),
    ]
    return [(title, content) for title, content in found if content]


def _fold(words: str, label: str = "", wide: int = 0, hang: str = "  ") -> str:
    width = max(30, min(MAX_WIDTH, shutil.get_terminal_size((80, 24)).columns))
    first = f"  {label:<{wide}}" if label else "  "
    return textwrap.fill(
        words,
        width,
        initial_indent=first,
        subsequent_indent=" " * (wide + 2) if label else hang,
        break_on_hyphens=False,
    )
