"""Runs the trainings, a few at a time, and keeps what came of them: one line of JSON each, in one file."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from studies.calibration.families import warm
from studies.calibration.forks import Progress

from trimtab import __version__

from .plan import Run
from .training import Result, train

RESULTS, MADE_BY = "runs.jsonl", "made-by.json"


def train_all(runs: Sequence[Run], folder: Path, jobs: int) -> None:
    """Train what `folder` does not have yet. An interruption loses the runs under way."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {result.run for result in load(folder)}
    todo = [run for run in runs if run not in known]
    (folder / MADE_BY).write_text(json.dumps(_made_by()) + "\n", encoding="utf-8")
    progress = Progress(len(runs), len(todo))
    if todo:
        torch.set_num_threads(1)
        warm()  # once, before the fork
    file = _without_half_line(folder / RESULTS)
    try:
        with get_context("fork").Pool(jobs, _begin) as pool, file.open("a", encoding="utf-8") as lines:
            for result in pool.imap_unordered(train, todo):
                lines.write(json.dumps(_row(result)) + "\n")
                lines.flush()
                progress.done(result.run.name, 0)
    finally:
        progress.close()


def load(folder: Path) -> list[Result]:
    """What came of the runs so far."""
    file = folder / RESULTS
    return [_result(json.loads(line)) for line in _lines(file)] if file.exists() else []


def made_by(folder: Path) -> dict[str, str]:
    """The versions, the day and the kind of machine of the last training."""
    found: dict[str, str] = json.loads((folder / MADE_BY).read_text(encoding="utf-8"))
    return found


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    os.environ["TRIMTAB_QUIET"] = "1"
    torch.set_num_threads(1)


def _lines(file: Path) -> list[str]:
    """Whole lines; one that was being written when the study was killed is none."""
    return [line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _without_half_line(file: Path) -> Path:
    """The same file, in which every line is whole."""
    if file.exists():
        file.write_text("".join(_lines(file)), encoding="utf-8")
    return file


def _row(result: Result) -> dict[str, Any]:
    row = {**asdict(result.run), **asdict(result)}
    del row["run"]
    return {key: None if value == math.inf else value for key, value in row.items()}


def _result(row: dict[str, Any]) -> Result:
    run = Run(row["base"], row["seed"], row["fault"], row["policy"])
    final, last_training = (math.inf if row[key] is None else row[key] for key in ("final", "last_training"))
    return Result(run, final, last_training, row["digest"], row["seconds"])


def _made_by() -> dict[str, str]:
    return {
        "trimtab": __version__,
        "torch": torch.__version__.split("+")[0],
        "day": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one thread per run",
    }
