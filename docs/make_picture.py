"""Draws the README's picture: the demo's training under `trimtab run`, as it looks in a terminal.

python docs/make_picture.py       runs the demo, writes docs/demo.svg
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from trimtab.findings import judge
from trimtab.report import terminal
from trimtab.runs import Record

ROOT = Path(__file__).resolve().parent.parent
DEMO = "examples/mlp.py --init normal:1 --depth 10 --optimizer sgd --lr 0.01 --epochs 3"
# As Rich draws a terminal, without the fonts that it would load from the net.
FRAME = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
  line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "demo"
        command = [sys.executable, "-m", "trimtab", "run", "--out", str(run), *DEMO.split()]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        record = Record.open(run)
        console = Console(record=True, width=84, file=io.StringIO(), force_terminal=True, color_system="truecolor")
        script, flags = DEMO.split(" --", 1)
        console.print(f"[bold]$[/] trimtab run {script} \\\n    --{flags}", highlight=False)
        for line in (*_event_lines(said.stderr), *said.stdout.splitlines()):
            console.print(line, highlight=False, markup=False)
        terminal.page(judge(record), record, console)
        svg = console.export_svg(title="trimtab", theme=MONOKAI, code_format=FRAME, unique_id="trimtab")
    (ROOT / "docs" / "demo.svg").write_text(svg.replace(str(run), ".trimtab/demo"), encoding="utf-8")


def _event_lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith("trimtab: ")]


if __name__ == "__main__":
    main()
