"""Write docs/troubles/*.md from the files of trimtab.findings. Run it after a change of one of them."""

from __future__ import annotations

from pathlib import Path

from trimtab.findings import CAUSES, TROUBLES
from trimtab.report._explain import markdown

HERE = Path(__file__).parent / "troubles"
INTRODUCTION = (
    "A trouble is what is seen in a training; a cause is what, once changed, cures it. Each page is made from the file "
    "of its rule; `trimtab explain NAME` prints it. [How a verdict is made](../verdict.md) says how severities and "
    "causes are found, and what chance and the other words mean."
)


def pages() -> dict[str, str]:
    """File name -> content."""
    index = ["# Troubles", INTRODUCTION]
    index.append("\n".join(f"- [{t.name}]({t.name}.md): {t.summary}" for t in TROUBLES))
    index += ["## Causes", "\n".join(f"- **{name}**: {text}" for name, text in CAUSES.items())]
    return {"README.md": "\n\n".join(index) + "\n", **{f"{t.name}.md": markdown(t) for t in TROUBLES}}


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
