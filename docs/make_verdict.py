"""Write the example of docs/verdict.md: a real verdict.json, of a training that stalls.

python docs/make_verdict.py       runs the training, checks its verdict against the schema, writes it into the page
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jsonschema

DOCS = Path(__file__).resolve().parent
EXAMPLE = "examples/mlp.py --activation sigmoid --depth 10 --init default --epochs 10"
START, END = "<!-- example: start -->\n", "<!-- example: end -->"
WIDTH = 110


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        command = [sys.executable, "-m", "trimtab", "run", "--out", str(run), *EXAMPLE.split()]
        subprocess.run(command, cwd=DOCS.parent, capture_output=True, check=True)
        verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
    schema = json.loads((DOCS / "schemas" / "verdict.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(verdict, schema, cls=jsonschema.Draft202012Validator)
    page = DOCS / "verdict.md"
    page.write_text(with_example(page.read_text(encoding="utf-8"), verdict), encoding="utf-8")


def with_example(page: str, verdict: Any) -> str:
    """The page with this verdict in place of the one that it has."""
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}`trimtab run {EXAMPLE}`:\n\n```json\n{short(verdict)}\n```\n{END}{after}"


def short(value: Any, indent: str = "") -> str:
    """JSON, with each list and object on one line where it fits."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= WIDTH or not isinstance(value, dict | list):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {short(item, deeper)}" for key, item in value.items()]
    else:
        items = [short(item, deeper) for item in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}\n{deeper}" + f",\n{deeper}".join(items) + f"\n{indent}{right}"


if __name__ == "__main__":
    main()
