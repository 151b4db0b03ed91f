"""The command line of the study: python -m studies.guards train|report|all."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> int:
    args = _parse()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
    folder = args.data / ("quick" if args.quick else "full")
    if args.command in ("train", "all"):
        _train(folder, args.quick, args.jobs)
    if args.command in ("report", "all"):
        _report(folder, args.docs or (folder if args.quick else ROOT / "docs"))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m studies.guards", description=__doc__)
    parser.add_argument("command", choices=("train", "report", "all"))
    parser.add_argument("--quick", action="store_true", help="some 40 trainings, for a look and for CI")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (default 1)")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="where results are kept")
    parser.add_argument("--docs", type=Path, help="where `report` writes guards.md (default docs/, with --quick data/)")
    return parser.parse_args()


def _train(folder: Path, quick: bool, jobs: int) -> None:
    from .outcomes import Outcomes
    from .plan import FULL, QUICK
    from .records import load, train_all

    plan = QUICK if quick else FULL
    try:
        train_all(plan.unguarded(), folder, jobs)
        train_all(plan.guarded(Outcomes(load(folder)).lost()), folder, jobs)
    except KeyboardInterrupt:
        print("\ninterrupted; what is trained is kept: the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


def _report(folder: Path, docs: Path) -> None:
    from .page import write_page
    from .records import load, made_by

    print(write_page(load(folder), made_by(folder), docs))


if __name__ == "__main__":
    raise SystemExit(main())
