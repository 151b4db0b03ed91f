"""Delete runs under .trimtab, and show what was deleted and how large it was.

Only directories that trimtab made are touched, never what a symbolic link points to, never a run
that is still under way.

    trimtab clean --keep 10               all but the ten newest
    trimtab clean --older-than 7d         what began more than a week ago
    trimtab clean --keep 10 --dry-run     show it, delete nothing
    trimtab clean 2026-11-24-153012-train
    trimtab clean --keep 0                every run
"""

from __future__ import annotations

import argparse
import json
import sys

from trimtab._errors import TrimtabError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="names under .trimtab, or paths")
    parser.add_argument("--keep", type=int, metavar="N", help="leave the N newest")
    parser.add_argument("--older-than", metavar="AGE", help="leave what began within this time: 12h, 7d, 2w")
    parser.add_argument("--dry-run", action="store_true", help="show what would go, delete nothing")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(args: argparse.Namespace) -> int:
    from trimtab.verbs._clean import Removal, clean, seconds_of

    if args.keep is not None and args.keep < 0:
        raise TrimtabError(f"--keep is a number of runs, 0 or more; got {args.keep}")
    age = None if args.older_than is None else seconds_of(args.older_than)
    removals = clean(args.runs, keep=args.keep, older_than=age, dry_run=args.dry_run)
    failed = [removal for removal in removals if removal.error]
    total = sum(removal.nbytes for removal in removals if not removal.error)
    if args.json:
        listed = [removal.to_json() for removal in removals]
        print(json.dumps({"schema": 1, "dry_run": args.dry_run, "bytes": total, "runs": listed}))
        return 1 if failed else 0

    def line(removal: Removal) -> str:
        name = "".join(c if c.isprintable() else "?" for c in removal.run.name)
        return f"{size(removal.nbytes):>9}  {name}"

    for removal in removals:
        if not removal.error:
            print(line(removal))
    for removal in failed:
        print(f"{line(removal)}: not deleted: {removal.error}", file=sys.stderr)
    done = "would be deleted; leave out --dry-run to do it" if args.dry_run else "deleted"
    count = len(removals) - len(failed)
    print(f"{count} run{'' if count == 1 else 's'}, {size(total)}, {done}" if count else "nothing to delete")
    return 1 if failed else 0


def size(nbytes: int) -> str:
    """Bytes in the unit that suits them: 512 B, 3.4 MB."""
    if nbytes < 1000:
        return f"{nbytes} B"
    power = min(4, (len(str(nbytes)) - 1) // 3)
    return f"{nbytes / 1000**power:.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"
