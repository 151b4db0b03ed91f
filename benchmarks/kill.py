"""What is left after `kill -9` at a random moment of a real `trimtab run`.

    python benchmarks/kill.py              50 runs: the training, its supervisor and its recorder in turn
    python benchmarks/kill.py --kills 6

Each run trains a small net until one of its three processes is killed. Then every part on disk must be whole,
every row that was on disk before the kill must be there once, `Record.open` must find no damage, and there must
be a verdict: written by the recorder where that lived, else made by `trimtab show`. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from trimtab import __version__
from trimtab.runs import Record

TRIMTAB = [sys.executable, "-m", "trimtab"]
VICTIMS = ("training", "supervisor", "recorder")
SECONDS = 3.0
"""After its first step a training lives this long, at most."""
SCRIPT = """
import os, torch
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
for step in range(1_000_000):
    x = torch.randn(32, 16)
    loss = torch.nn.functional.cross_entropy(model(x), x[:, :4].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step == 0:
        print(os.getpid(), flush=True)
"""


class Trial(NamedTuple):
    """One kill: rows of `steps` on disk just before it and after it, and who made the verdict."""

    victim: str
    seconds: float
    before: int
    after: int
    outcome: str
    verdict_by: str


def trial(directory: Path, victim: str, seconds: float) -> Trial:
    """Train in `directory`, kill `victim` so many seconds after the first step, look at what is left.

    Raises AssertionError where a promise is broken.
    """
    directory.mkdir(parents=True)
    (directory / "train.py").write_text(SCRIPT)
    run = directory / "run"
    supervisor = subprocess.Popen(
        [*TRIMTAB, "run", "--out", "run", "train.py"], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert supervisor.stdout is not None
    training = int(supervisor.stdout.readline())
    recorder = next(pid for pid in _children(supervisor.pid) if pid != training)
    time.sleep(seconds)
    before = _rows_on_disk(run)
    os.kill({"training": training, "supervisor": supervisor.pid, "recorder": recorder}[victim], signal.SIGKILL)
    if victim == "recorder":
        time.sleep(0.2)
        assert _is_alive(training), "the training must go on without its recorder"
        os.kill(training, signal.SIGKILL)
    supervisor.wait(30)
    supervisor.stdout.close()
    assert _until(lambda: not _is_alive(training), 10), "the training outlived its supervisor"
    assert _until(lambda: not _is_alive(recorder), 30), "the recorder does not end"
    return _look(run, victim, seconds, before)


def _look(run: Path, victim: str, seconds: float, before: int) -> Trial:
    for part in run.glob("*/*.parquet"):
        pq.read_table(part)
    written = (run / "verdict.json").exists()
    assert written or victim == "recorder", "the recorder left no verdict"
    shown = subprocess.run([*TRIMTAB, "show", str(run), "--json"], capture_output=True, text=True, check=False)
    if not before and not run.exists():
        return Trial(victim, seconds, 0, 0, "no run yet", "nobody")
    assert shown.returncode == 0, shown.stderr
    record = Record.open(run)
    assert record.damage == [], record.damage
    step = record.series()[0].steps["step"].tolist() if record.series() else []
    assert step == list(range(len(step))), "a row is missing or there twice"
    assert len(step) >= before, f"{before} rows were on disk, {len(step)} are left"
    assert (run / "verdict.json").exists()
    outcome = json.loads(shown.stdout)["outcome"]
    return Trial(victim, seconds, before, len(step), outcome, "recorder" if written else "trimtab show")


def _rows_on_disk(run: Path) -> int:
    """Rows of `steps`, as a reader that comes now finds them."""
    with contextlib.suppress(Exception):
        return sum(len(series.steps["step"]) for series in Record.open(run).series())
    return 0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(f"trimtab {__version__}, {date.today()}, {platform.platform()}, Python {platform.python_version()}")
    trials = []
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(options.kills):
            done = trial(Path(scratch) / str(i), VICTIMS[i % len(VICTIMS)], chance.uniform(0, SECONDS))
            trials.append(done)
            print(f"{i:>3}  {done.victim:<11}{done.seconds:5.2f} s  {done.before:>6,} rows before, {done.after:>6,} "
                  f"after  {done.outcome}, judged by {done.verdict_by}", flush=True)  # fmt: skip
    lost = {v: [t.after - t.before for t in trials if t.victim == v] for v in VICTIMS}
    print(f"{len(trials)} kills, every part whole, every flushed row there once, a verdict each")
    for victim, more in lost.items():
        if more:
            print(f"killed {victim:<11} rows beyond those on disk at the kill: median {statistics.median(more):,.0f}")


if __name__ == "__main__":
    main()
