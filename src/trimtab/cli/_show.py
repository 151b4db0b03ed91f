"""Show the runs of this directory, or one of them: what went wrong, where and why.

RUN is a name, the path of a run's directory, or "latest".

examples:
  trimtab show                     the runs, newest first
  trimtab show latest              the newest run
  trimtab show --follow            watch the newest run from another terminal
  trimtab show RUN --json          its verdict as JSON
  trimtab show RUN --replay        what its black box holds, and whether the event happens again
  trimtab show RUN --replay -- train.py --lr 0.1

--replay runs your script again up to its first optimizer steps, and says which command before it does.
Its exit status: 0 if the event happened again, 1 if not, 3 if that could not be tried.
then:
  trimtab explain TROUBLE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trimtab._errors import TrimtabError

from .._language import speaking, t, users_language

if TYPE_CHECKING:
    import argparse

NOT_TRIED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="RUN", help="name or directory of a run, or latest")
    parser.add_argument(
        "--follow", action="store_true", help="watch a run as it goes on; without RUN the newest, or the first to come"
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="load the black box of the run and reproduce its event; needs RUN, and with the batch kept "
        "(`trimtab run --keep-batch`) it is the very step. After -- a command to run in place of the recorded one",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--root", default=".trimtab", metavar="DIR", help="where the runs are (default: .trimtab)")


def main(words: list[str]) -> int:
    """Show with these words of the command line; what stands after `--` is a program."""
    from trimtab.cli import make_parser

    at = words.index("--") if "--" in words else len(words)
    args = make_parser("show").parse_args(words[:at])
    program = words[at + 1 :]
    if program and not args.replay:
        raise TrimtabError(f"-- {program[0]}: a command can be given with --replay only")
    with speaking("en" if args.json else users_language(sys.stdout)):  # JSON is in English
        return _replay(args, program) if args.replay else run(args)


def _replay(args: argparse.Namespace, program: list[str]) -> int:
    from trimtab.verbs._replay import replay

    if args.name is None or args.follow:
        raise TrimtabError("--replay needs a run, and no --follow: trimtab show RUN --replay")
    shown = replay(args.name, Path(args.root), program, say=_say)
    data = shown.to_json()
    if args.json:
        print(json.dumps(data, indent=2))
    else:
        from rich.console import Console

        from trimtab.report._replay import replay_page

        replay_page(data, shown.box.summaries, Console())
    return NOT_TRIED if shown.again is None else 0 if shown.again else 1


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
        from trimtab.findings import plain

        print(json.dumps([plain(line.to_json()) for line in runs], indent=2))
    elif not runs:
        print(t("no runs under {root}: `trimtab run train.py` makes one", root=root))
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
    print(t("trimtab: {sentence}", sentence=sentence), file=sys.stderr, flush=True)


def _as_json(shown) -> dict[str, object]:  # type: ignore[no-untyped-def]
    record = shown.record
    return {
        **shown.verdict.to_json(),
        **({"outcome": "running"} if shown.running else {}),
        "run": {"name": record.name, "path": str(record.path), "ended": record.ended, "damage": record.damage},
    }
