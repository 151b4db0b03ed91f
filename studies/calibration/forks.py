"""Trains many recipes, each in a forked child of its own, a few at a time; what is done is not done again."""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from pathlib import Path

import torch

from .corpus import Recipe
from .families import warm
from .recording import OUTCOME, record

MAX_SECONDS = 120.0


def train_all(recipes: list[Recipe], runs: Path, jobs: int) -> list[str]:
    """Train what has no outcome in `runs` yet; the names of those that failed. Ctrl-C leaves what is done."""
    runs.mkdir(parents=True, exist_ok=True)
    todo = [recipe for recipe in recipes if not (runs / recipe.name / OUTCOME).exists()]
    progress = Progress(len(recipes), len(todo))
    torch.set_num_threads(1)
    if todo:
        _warm(runs)
    under_way: dict[int, tuple[Recipe, float]] = {}
    failed: list[str] = []
    waiting = iter(todo)
    try:
        while True:
            while len(under_way) < jobs and (recipe := next(waiting, None)) is not None:
                under_way[_fork(recipe, runs)] = (recipe, time.monotonic())
            if not under_way:
                return failed
            recipe, status = _wait(under_way)
            if status:
                failed.append(recipe.name)
            progress.done(recipe.name, status)
    finally:
        for pid in under_way:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        progress.close()


def _warm(runs: Path) -> None:
    """Have loaded before the first fork what every child would load again: the examples, Arrow, the hooks."""
    warm()
    scratch = runs / "warming-up"
    record(Recipe("binary-adam", 0), scratch)
    shutil.rmtree(scratch)


class Progress:
    def __init__(self, total: int, todo: int) -> None:
        self._total, self._todo, self._done, self._began = total, todo, 0, time.monotonic()
        self._live = sys.stderr.isatty()
        print(f"{total} trainings, {total - todo} of them done before", file=sys.stderr)

    def done(self, name: str, status: int) -> None:
        self._done += 1
        left = (time.monotonic() - self._began) / self._done * (self._todo - self._done)
        if status:
            print(f"\r{name}: failed", file=sys.stderr)
        text = f"{self._total - self._todo + self._done}/{self._total}, {left / 60:.1f} minutes left  {name:40.40}"
        if self._live:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif self._done % 50 == 0:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        took = time.monotonic() - self._began
        print(f"{chr(10) if self._live else ''}{self._done} trainings in {took:.0f} s", file=sys.stderr)


def _fork(recipe: Recipe, runs: Path) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    complaint = runs / f"{recipe.name}.error"
    try:
        directory = runs / recipe.name
        shutil.rmtree(directory, ignore_errors=True)
        complaint.unlink(missing_ok=True)
        record(recipe, directory)
        status = 0
    except Exception:
        complaint.write_text(traceback.format_exc(), encoding="utf-8")
    except KeyboardInterrupt:
        pass
    finally:
        os._exit(status)


def _wait(under_way: dict[int, tuple[Recipe, float]]) -> tuple[Recipe, int]:
    """Wait for any child; one that takes too long is ended."""
    while True:
        for pid, (recipe, began) in list(under_way.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del under_way[pid]
                return recipe, status
            if time.monotonic() - began > MAX_SECONDS:
                os.kill(pid, 9)
        time.sleep(0.005)
