"""Writes runs and is killed at it, again and again: run as a script by `test_kill.py`.

Forks one writer per trial, which acknowledges every flush through a pipe, kills it by SIGKILL after a
random number of acknowledged flushes and a random further moment, and prints what was acknowledged.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.runs._feed import steps, tensors
from trimtab.runs import RunWriter, _store

STEPS_PER_FLUSH = 16
WIDTH = 4


def write_until_killed(directory: Path, acknowledge: int) -> None:
    _store.FAN_IN = 2  # half of the time goes into merging, so that many a kill falls there
    writer = RunWriter(directory, {}, on_trouble=print)
    process = writer.process({"pid": os.getpid()})
    writer.names(process, "tensor", 0, [f"w{i}" for i in range(WIDTH)])
    for flush in range(100_000):
        writer.rows(process, *steps(flush * STEPS_PER_FLUSH, STEPS_PER_FLUSH))
        writer.rows(process, *tensors(flush * STEPS_PER_FLUSH, STEPS_PER_FLUSH, WIDTH))
        writer.flush()
        os.write(acknowledge, b".")


def trial(directory: Path, chance: random.Random) -> int:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        write_until_killed(directory, write)
        os._exit(1)
    os.close(write)
    acknowledged = 0
    for _ in range(chance.randrange(1, 25)):
        acknowledged += len(os.read(read, 1))
    time.sleep(chance.uniform(0, 0.02))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while data := os.read(read, 4096):
        acknowledged += len(data)
    os.close(read)
    return acknowledged


def main(root: Path, trials: int, seed: int) -> None:
    chance = random.Random(seed)
    print(json.dumps([trial(root / f"run{i}", chance) for i in range(trials)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
