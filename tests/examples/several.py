"""Runs several examples in one process of their own, which spares the import of a framework for each of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).parents[2] / "examples"
LINE = re.compile(r"(?:epoch|step) +(\d+)  train loss (\S+)  val loss (\S+)  val (?:accuracy|r2) (\S+)")
RUN_ALL = """
import contextlib, io, json, runpy, sys
outputs = []
for command in json.load(sys.stdin):
    sys.argv = command.split()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit:
            pass
    outputs.append([out.getvalue(), err.getvalue()])
json.dump(outputs, sys.stdout)
"""


class Line(NamedTuple):
    at: int
    train_loss: float
    val_loss: float
    score: float


class Output(NamedTuple):
    out: str
    err: str

    @property
    def lines(self) -> list[Line]:
        return [Line(int(m[0]), float(m[1]), float(m[2]), float(m[3])) for m in LINE.findall(self.out)]


def run_all(folder: str, commands: list[str], **environment: str) -> dict[str, Output]:
    """Commands as "mlp.py --epochs 1", run in examples/FOLDER; raises what an example raises."""
    quiet = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        cwd=EXAMPLES / folder,
        env={**os.environ, **quiet, **environment},
        input=json.dumps(commands),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    outputs = json.loads(done.stdout)
    return dict(zip(commands, (Output(*o) for o in outputs), strict=True))
