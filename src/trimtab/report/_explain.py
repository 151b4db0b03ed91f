"""The page of a trouble, a cause or a policy, as plain text for the terminal and as Markdown for the documentation."""

from __future__ import annotations

import shutil
from typing import Any

from trimtab.findings import CAUSES, TROUBLES, Trouble
from trimtab.policies import POLICIES, Explained, explained

from .._language import described, t
from ._folded import divided

MAX_WIDTH = 88


def as_json(found: Trouble | Explained | str | None) -> Any:
    """What `--json` prints: a trouble's or a policy's fields, a cause's paragraph, or the list of all."""
    if found is None:
        policies = {name: explained(name).summary for name in POLICIES}
        return {
            "troubles": {trouble.name: trouble.summary for trouble in TROUBLES},
            "causes": CAUSES,
            "policies": policies,
        }
    if isinstance(found, Explained):
        return vars(found)
    if isinstance(found, str):
        return {"cause": found}
    fields = ("name", "summary", "measures", "hurts", "is_not", "threshold", "causes", "remedies", "sources")
    return {name: getattr(found, name) for name in fields}


def listing() -> str:
    """All names, a line each."""
    wide = max(map(len, [*CAUSES, *POLICIES, *(trouble.name for trouble in TROUBLES)])) + 2
    troubles = [_fold(described(trouble.name, trouble.summary), trouble.name, wide) for trouble in TROUBLES]
    causes = [_fold(described(name, _first_sentence(text)), name, wide) for name, text in CAUSES.items()]
    policies = [_fold(described(name, explained(name).summary), name, wide) for name in POLICIES]
    titles = (
        t("Troubles: what is seen"),
        t("Causes: what, once changed, cures it"),
        t("Policies: what `trimtab run --with` does to a step's gradients"),
    )
    following = t("next: {command}", command="trimtab explain NAME")
    return "\n".join([titles[0], *troubles, "", titles[1], *causes, "", titles[2], *policies, "", following])


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].split(": ")[0].rstrip(".") + "."


def text(name: str, found: Trouble | Explained | str) -> str:
    """A page of plain text, folded to the terminal. Headings and the summary are in the language spoken."""
    if isinstance(found, Explained):
        return _policy_text(found)
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


def _policy_text(policy: Explained) -> str:
    """Formulas stand in lines of their own, so that the text is not folded anew."""
    settings = ", ".join(f"{key}" if value is None else f"{key} ({value:g})" for key, value in policy.settings.items())
    blocks = [policy.name, _fold(described(policy.name, policy.summary)), _indented(policy.text)]
    if settings:
        blocks.append(t("Settings") + f"\n  {settings}")
    return "\n\n".join(filter(None, blocks))


def _indented(lines: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in lines.splitlines())


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
