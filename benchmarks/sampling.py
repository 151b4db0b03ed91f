"""The share of a training's time that sampled measurements take, on the six examples.

    python benchmarks/sampling.py             all six, about five minutes
    python benchmarks/sampling.py --quick     the quickest one

The dearer quantities are measured at sampled steps, so seldom that they take at most 3 % of the time. Each example
runs with its defaults under `trimtab run`; its record holds what the hooks took before each step. Counted from the
second sampled step on: the first steps of an optimizer are always sampled, whatever that costs, and are given apart.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

import trimtab
from trimtab.runs import Record

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = ("mlp", "vgg", "resnet", "lstm", "gcn", "transformer")


def measure(name: str, out: Path) -> None:
    command = [sys.executable, "-m", "trimtab", "run", "--out", str(out), str(EXAMPLES / f"{name}.py")]
    subprocess.run(command, check=True, cwd=EXAMPLES, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    steps = Record.open(out).series()[0].steps
    spent, sampled = np.nan_to_num(steps["watch_seconds"]), np.flatnonzero(steps["sampled"])
    begin = sampled[1] + 1 if len(sampled) > 1 else 1
    seconds = float(steps["time"][-1] - steps["time"][begin])
    later = sampled[sampled >= begin]
    every = np.setdiff1d(np.arange(begin, len(spent)), later)
    print(
        f"  {name:12} {len(spent):6,} steps of {seconds / max(1, len(spent) - begin) * 1e3:6.1f} ms  "
        f"{len(later):4} sampled, {spent[later].sum() / seconds:6.2%} of the time  "
        f"all other steps {spent[every].sum() / seconds:6.2%}  first sample {spent[:begin].sum() * 1e3:5.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    import torch

    print(f"trimtab {trimtab.__version__}, torch {torch.__version__}, {date.today()}, {platform.machine()}, ", end="")
    print(f"{torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("gcn",) if options.quick else NAMES:
            measure(name, Path(scratch) / name)


if __name__ == "__main__":
    main()
