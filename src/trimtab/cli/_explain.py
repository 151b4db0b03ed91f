"""Explain a trouble, a cause or a policy: what is measured, why it hurts, what it is not, what to try.

examples:
  trimtab explain                        all troubles, causes and policies, a line each
  trimtab explain vanishing-gradient
  trimtab explain learning-rate-too-high
  trimtab explain clip=zclip
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from .._language import speaking, users_language

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="a trouble, a cause or a policy; without it all are listed"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    with speaking("en" if args.json else users_language(sys.stdout)):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from trimtab.report._explain import as_json, listing, text
    from trimtab.verbs._explain import explain

    if args.name is None:
        found = None
        print(json.dumps(as_json(None), indent=2) if args.json else listing())
        return 0
    found = explain(args.name)
    print(json.dumps(as_json(found), indent=2) if args.json else text(args.name, found))
    return 0
