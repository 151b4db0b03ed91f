"""Show the runs of this directory, or one of them: what went wrong, where and why.

RUN is a name, the path of a run's directory, or "latest".

examples:
  trimtab show                     the runs, newest first
  trimtab show latest              the newest run
  trimtab show --follow            watch the newest run from another terminal
  trimtab show RUN --json          its verdict as JSON
then:
  trimtab explain TROUBLE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="RUN", help="name or directory of a run, or latest")
    parser.add_argument(
        "--follow", action="store_true", help="watch a run as it goes on; without RUN the newest, or the first to come"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--root", default=".trimtab", metavar="DIR", help="where the runs are (default: .trimtab)")


def run(args: argparse.Namespace) -> int:
    from trimtab.verbs._show import follow_run, show_run, show_runs

    root = Path(args.root)
    if args.follow:
        return _follow(follow_run(args.name or "latest", root, say=_say), args.json)
    if args.name is None:
        return _list(show_runs(root), root, args.json)
    shown = show_run(args.name, root)
    if args.json:
        print(json.dumps(_as_json(shown), indent=2))
        return 0
    from rich.console import Console

    from trimtab.report.terminal import page

    page(shown.verdict, shown.record, Console(), running=shown.running)
    return 0


def _list(runs: list, root: Path, as_json: bool) -> int:  # type: ignore[type-arg]
    if as_json:
        print(json.dumps([line.to_json() for line in runs], indent=2))
    elif not runs:
        print(f"no runs under {root}: `trimtab run train.py` makes one")
    else:
        from rich.console import Console

        from trimtab.report._runs_table import runs_table

        runs_table(runs, Console())
    return 0


def _follow(shown: object, as_json: bool) -> int:
    from trimtab.report._follow import follow

    try:
        last = follow(shown, sys.stdout, quiet=as_json)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        return 130
    if as_json:
        print(json.dumps(_as_json(last), indent=2))
    return 0


def _say(sentence: str) -> None:
    print(f"trimtab: {sentence}", file=sys.stderr, flush=True)


def _as_json(shown) -> dict[str, object]:  # type: ignore[no-untyped-def]
    record = shown.record
    return {
        **shown.verdict.to_json(),
        **({"outcome": "running"} if shown.running else {}),
        "run": {"name": record.name, "path": str(record.path), "ended": record.ended, "damage": record.damage},
    }
