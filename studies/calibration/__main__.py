"""The command line of the study: python -m studies.calibration train|judge|thresholds|report|all."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .judging import Judged

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMANDS = ("train", "judge", "thresholds", "report", "all")


def main() -> int:
    args = _parse()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
    folder = args.data / ("quick" if args.quick else "full")
    if args.command in ("train", "all") and (failed := _train(args, folder)):
        print(f"{len(failed)} trainings failed: {', '.join(failed[:5])}; see {folder}/runs/*.error", file=sys.stderr)
        return 1
    if args.command != "train":
        _judge(args, folder)
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m studies.calibration", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--quick", action="store_true", help="some 40 trainings, for a look and for CI")
    parser.add_argument(
        "--only", action="append", default=[], metavar="FAMILY", help="train and judge this family only"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="where records are kept")
    parser.add_argument(
        "--docs", type=Path, help="where `report` writes calibration.md (default docs/, with --quick data/)"
    )
    return parser.parse_args()


def _train(args: argparse.Namespace, folder: Path) -> list[str]:
    from .corpus import recipes
    from .forks import train_all

    try:
        return train_all(recipes(quick=args.quick, only=args.only), folder / "runs", args.jobs)
    except KeyboardInterrupt:
        print("\ninterrupted; what is trained is kept: the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


def _judge(args: argparse.Namespace, folder: Path) -> None:
    from . import tables
    from .corpus import recipes
    from .judging import judge_all
    from .outcomes import labels
    from .packing import PackedCorpus, pack
    from .page import write_page
    from .thresholds import as_lines, choose_all

    packed = folder / "packed"
    if (folder / "runs").exists():
        print(f"{pack(recipes(quick=args.quick), folder / 'runs', packed)} runs packed", file=sys.stderr)
    corpus = PackedCorpus(packed)
    began = time.monotonic()
    judged = [j for j in judge_all(corpus, args.jobs) if not args.only or j.recipe.family in args.only]
    print(f"{len(judged)} runs judged in {time.monotonic() - began:.0f} s", file=sys.stderr)
    if args.command in ("judge", "all"):
        _print_tables(judged)
        listed = folder / "calibration-half.txt"
        listed.write_text("\n".join(tables.misses(tables.calibration(judged))) + "\n", encoding="utf-8")
        print(f"wrong answers on the calibration half: {listed}")
    if args.command in ("thresholds", "report", "all"):
        runs = list(corpus.runs())
        chosen = choose_all(runs, labels(runs))
        if args.command != "report":
            print("\n".join(as_lines(chosen)))
    if args.command in ("report", "all"):
        command = " ".join(["python -m studies.calibration report", *(["--quick"] if args.quick else [])])
        print(write_page(judged, chosen, args.docs or (folder if args.quick else ROOT / "docs"), command))


def _print_tables(judged: list[Judged]) -> None:
    from . import tables

    for name, part in (("calibration", tables.calibration(judged)), ("held-out", tables.held_out(judged))):
        print(f"\n{name} half: {tables.groups(part)}")
        for tool in tables.tools(part, tables.calibration(judged)):
            print(f"  {tool.name:36} sick {tool.recall!s:32} healthy {tool.alarms}")
        for r in (*tables.by_trouble(part), *tables.by_family(part), tables.row("all", part)):
            print(f"  {r.name:20} found {r.found!s:32} first {r.first!s:32} three {r.three!s:32} alarms {r.alarms}")


if __name__ == "__main__":
    raise SystemExit(main())
