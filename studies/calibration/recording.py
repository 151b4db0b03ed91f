"""Trains one recipe under watch in this process, and leaves it as a run directory that `trimtab show` can open."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trimtab.frameworks import torch as adapter
from trimtab.launch._session import Session as ProcessSession
from trimtab.launch._tracebacks import describe_exception
from trimtab.runs import Redactor, RunWriter

from . import loop
from .corpus import Recipe
from .families import build, settings_of

OUTCOME = "outcome.json"
"""Written last, beside the record: what the script itself would know of the training. Its presence says "done"."""


class Channel:
    """Stands where the line to the recorder is: messages go straight to the writer."""

    is_open = True

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
        self._process = writer.process({"pid": os.getpid(), "argv": ["train.py"]})

    def send(self, header: dict[str, Any], *payload: bytes | memoryview) -> None:
        if header["type"] == "rows":
            self._writer.rows(self._process, header, b"".join(payload))
        elif header["type"] == "names":
            self._writer.names(self._process, header["column"], header["first"], header["names"])
        elif header["type"] == "describe":
            self._writer.describe(self._process, header["data"])


class Session(ProcessSession):
    """A watched process's session, with the writer of the record in the same process."""

    def __init__(self, writer: RunWriter) -> None:
        super().__init__(json.dumps({"started": time.monotonic()}))
        self._to_writer: Any = Channel(writer)

    @property
    def channel(self) -> Any:
        return self._to_writer

    @property
    def directory(self) -> str | None:
        """None: no black box is kept of a training of the corpus."""
        return None

    def error(self, where: str) -> None:
        raise RuntimeError(f"watching failed: {where}") from sys.exc_info()[1]


def record(recipe: Recipe, directory: Path) -> dict[str, Any]:
    """Train `recipe`, its record and its outcome in `directory`; returns the outcome."""
    began = time.monotonic()
    troubles: list[str] = []
    writer = RunWriter(
        directory, {"program": recipe.name}, on_trouble=troubles.append, redactor=Redactor({}, [recipe.name])
    )
    session = Session(writer)
    watch = adapter.attach(session)  # type: ignore[arg-type]
    try:
        outcome = _train(recipe, session, watch.detach)
    finally:
        watch.detach()
    writer.close(status=outcome["status"])
    if troubles:
        raise RuntimeError(f"{recipe.name}: {troubles[0]}")
    outcome["seconds"] = round(time.monotonic() - began, 3)
    waiting = directory / f"{OUTCOME}.new"
    waiting.write_text(json.dumps(outcome), encoding="utf-8")
    waiting.replace(directory / OUTCOME)
    return outcome


def _train(recipe: Recipe, session: Session, detach: Callable[[], None]) -> dict[str, Any]:
    """What became of it: exit status, held-out gain by the true targets (NaN if not finite), the printed curve."""
    settings = settings_of(recipe.family, recipe.seed, recipe.flags)
    if recipe.planted:
        settings = settings.with_flags(recipe.planted.flags(settings))
    task = build(settings)
    if recipe.planted:
        recipe.planted.plant(task, settings)
    curve, status, error = loop.Curve(), 0, ""
    try:
        curve = loop.train(task, settings)
    except Exception as raised:
        if recipe.planted is None or "crash" not in recipe.planted.troubles:
            raise  # a mistake of the study's own
        status, error = 1, f"{type(raised).__name__}: {raised}"[:300]
        session.event("exception", **describe_exception(raised))
    session.flush()
    detach()
    gain = math.nan if status else loop.score(task)
    if not all(bool(torch.isfinite(p).all()) for p in task.model.parameters()):
        gain = math.nan
    return {"status": status, "error": error, "gain": gain, "steps": settings.steps, "curve": curve.points}
