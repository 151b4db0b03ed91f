"""The command line: one file per verb, whose docstring is its help. It parses and calls, nothing else."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from trimtab._errors import TrimtabError
from trimtab._version import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

#: The verbs, in the order of the help: name, the line that the list of verbs shows.
VERBS = {
    "run": "run a training script, unchanged, and record what happens in it",
    "show": "show the runs, or one of them",
    "explain": "explain a finding: what it measures, why it hurts, what to try",
    "clean": "delete old runs",
    "doctor": "say what is hooked in this Python, and what is missing",
}
EXAMPLES = """\
examples:
  trimtab run train.py --lr 0.1        run train.py as Python would, and record it
  trimtab run -m package.train         the same for a module
  trimtab show                         the runs of this directory
  trimtab show RUN                     one run: what went wrong, where and why
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that the arguments name; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0] in ("-h", "--help", "help"):
            print(_help(), end="")
            return 0 if words else 2
        if words[0] in ("-V", "--version"):
            print(f"trimtab {__version__}")
            return 0
        return _dispatch(words[0], words[1:])
    except TrimtabError as error:
        print(f"trimtab: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # The reader of our output has gone (`trimtab show | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + 13


def _dispatch(verb: str, words: list[str]) -> int:
    if verb not in VERBS:
        raise TrimtabError(_unknown(verb))
    module = import_module(f"trimtab.cli._{verb}")
    if hasattr(module, "main"):
        return int(module.main(words))
    return int(module.run(make_parser(verb).parse_args(words)))


def make_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb; its file's docstring is the help."""
    import argparse

    module = import_module(f"trimtab.cli._{verb}")
    text, _, more = (module.__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog=f"trimtab {verb}",
        description=text,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def _help() -> str:
    verbs = "".join(f"  {name:<10}{line}\n" for name, line in VERBS.items())
    return (
        "usage: trimtab VERB ...\n\n"
        "Watches a deep-learning training, unchanged, and tells what went wrong, where and why.\n\n"
        f"verbs:\n{verbs}\n{EXAMPLES}\n`trimtab VERB --help` says more about one of them.\n"
    )


def _unknown(verb: str) -> str:
    import difflib

    near = difflib.get_close_matches(verb, VERBS, n=1)
    if verb.endswith(".py"):
        return f"{verb!r} is no verb; to run a script: trimtab run {verb}"
    hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(VERBS)}"
    return f"{verb!r} is no verb of trimtab{hint}"
