"""Say what is hooked in this Python, and what is missing.

Exit status 0 if everything that `trimtab run` needs is there, 1 if not.

examples:
  trimtab doctor
  trimtab doctor --json
then:
  trimtab run train.py
"""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the checks as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from trimtab.verbs._doctor import doctor

    checks = doctor()
    healthy = all(check.ok or not check.needed for check in checks)
    if args.json:
        print(json.dumps({"schema": 1, "ok": healthy, "checks": [check._asdict() for check in checks]}, indent=2))
        return 0 if healthy else 1
    width = max(len(check.name) for check in checks)
    for check in checks:
        word = "ok" if check.ok else "MISSING" if check.needed else "-"
        print(f"{word:<8}{check.name:<{width}}  {check.detail}")
    print(
        "all that is needed is there; next: trimtab run train.py" if healthy else "something that is needed is missing"
    )
    return 0 if healthy else 1
