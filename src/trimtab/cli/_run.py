"""Run a training script, unchanged, and record what happens in it.

Options of trimtab stand before the script; everything after it belongs to the script. The exit
status is the script's own, its stdout is untouched; trimtab writes to stderr.

examples:
  trimtab run train.py --lr 0.1 --epochs 3
  trimtab run --out runs/first train.py
  trimtab run --metric 'acc=acc: ([0-9.]+):max' train.py
  trimtab run -m package.train --lr 0.1
  trimtab run --guard train.py               (steps that would blow the training up are left out)
  trimtab run --with clip=global:1.0 --with skip=nonfinite train.py
  trimtab run --keep-batch train.py          (the batch of a step that fails is kept, to replay it)
  trimtab run torchrun --nproc-per-node 2 train.py
  python -X dev -m trimtab run train.py      (options of Python go before)
then:
  trimtab show
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

WITH_VALUE = ("--out", "--metric", "--max-size", "--with")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "trimtab run [options] SCRIPT ARGS... | -m MODULE ARGS... | -c CODE ARGS... | DIRECTORY ARGS..."
    parser.add_argument("--out", metavar="DIR", help="the directory of the run (default: .trimtab/DATE-TIME-NAME)")
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME[=REGEX][:min|:max]",
        help="take a metric from the lines that the script prints; repeatable. REGEX has one group, the number",
    )
    parser.add_argument(
        "--max-size", metavar="SIZE", help="of the run on disk, such as 500MB; oldest detail goes first"
    )
    parser.add_argument(
        "--keep-batch",
        action="store_true",
        help="keep the batch of a step that fails beside the run, for `trimtab show RUN --replay`; off by default, "
        "since it is your data, as it is, and may be private",
    )
    parser.add_argument(
        "--with",
        dest="policies",
        action="append",
        default=[],
        metavar="POLICY",
        help="guard the training: clip its gradients or leave out steps, as clip=global:1.0 or skip=spike; repeatable, "
        "they act in order. `trimtab explain` lists them",
    )
    parser.add_argument(
        "--guard",
        action="store_true",
        help="guard the training by skip=nonfinite and skip=spike: a step whose gradient is not finite, or far longer "
        "than those before it, is left out; what passes is not touched",
    )


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Our options, and the program with its arguments.

    >>> split(["--out", "here", "train.py", "--out", "there"])
    (['--out', 'here'], ['train.py', '--out', 'there'])
    """
    i = 0
    while i < len(words) and words[i].startswith("--"):
        if words[i] == "--":
            return words[:i], words[i + 1 :]
        i += 2 if words[i] in WITH_VALUE else 1
    if i < len(words) and words[i] == "-h":
        i += 1
    return words[:i], words[i:]


def main(words: list[str]) -> int:
    """Run with these words of the command line. argparse is loaded only if there are options of ours."""
    from trimtab.verbs._run import run as run_program

    ours, program = split(words)
    if not ours:
        return run_program(program)
    from trimtab.cli import make_parser

    args = make_parser("run").parse_args(ours)
    return run_program(
        program,
        out=args.out,
        metrics=args.metric,
        max_size=args.max_size,
        keep_batch=args.keep_batch,
        policies=args.policies,
        guard=args.guard,
    )
