"""Trains one recipe under watch in this process, and leaves it as a run directory that `trimtab show` can open."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trimtab.frameworks import torch as adapter
from trimtab.launch._session import Session as ProcessSession
from trimtab.launch._tracebacks import describe_exception
from trimtab.runs import Redactor, RunWriter

from . import loop, ranks
from .corpus import Recipe
from .families import build, settings_of
from .task import Settings

OUTCOME = "outcome.json"
"""Written last, beside the record: what the script itself would know of the training. Its presence says "done"."""


class Channel:
    """Stands where the line to the recorder is: messages go straight to the writer."""

    is_open = True

    def __init__(self, writer: RunWriter, rank: int | None = None) -> None:
        self._writer = writer
        self._process = writer.process({"pid": os.getpid(), "argv": ["train.py"], "rank": rank})

    def send(self, header: dict[str, Any], *payload: bytes | memoryview) -> None:
        if header["type"] == "rows":
            self._writer.rows(self._process, header, b"".join(payload))
        elif header["type"] == "names":
            self._writer.names(self._process, header["column"], header["first"], header["names"])
        elif header["type"] == "describe":
            self._writer.describe(self._process, header["data"])


class Session(ProcessSession):
    """A watched process's session, whose line to the recorder is `channel`."""

    def __init__(self, channel: Channel | ranks.KeptChannel) -> None:
        super().__init__(json.dumps({"started": time.monotonic()}))
        self._to_writer: Any = channel

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
    settings = _settings(recipe)
    writer = RunWriter(
        directory, {"program": recipe.name}, on_trouble=troubles.append, redactor=Redactor({}, [recipe.name])
    )
    if settings.ranks > 1:
        outcome = _on_ranks(recipe, settings, writer, directory)
    else:
        outcome = _watched(recipe, settings, Channel(writer))
    writer.close(status=outcome["status"])
    if troubles:
        raise RuntimeError(f"{recipe.name}: {troubles[0]}")
    outcome["seconds"] = round(time.monotonic() - began, 3)
    waiting = directory / f"{OUTCOME}.new"
    waiting.write_text(json.dumps(outcome), encoding="utf-8")
    waiting.replace(directory / OUTCOME)
    return outcome


def _settings(recipe: Recipe) -> Settings:
    return settings_of(recipe.family, recipe.seed, recipe.flags)


def _on_ranks(recipe: Recipe, settings: Settings, writer: RunWriter, directory: Path) -> dict[str, Any]:
    """The outcome of rank 0; the rows of the others are written once they have ended."""
    place = directory / "meeting"

    def train(rank: int, channel: Channel | ranks.KeptChannel) -> dict[str, Any]:
        ranks.meet(rank, settings.ranks, place)
        outcome = _watched(recipe, settings.with_flags({"rank": rank}), channel)
        ranks.part()
        return outcome

    kept = {rank: directory / f"rank-{rank}.messages" for rank in range(1, settings.ranks)}
    pids = {rank: ranks.fork(path, partial(train, rank)) for rank, path in kept.items()}
    outcome = train(0, Channel(writer, 0))
    for rank, path in kept.items():
        ranks.wait(pids[rank], rank)
        channel = Channel(writer, rank)
        for header, payload in ranks.messages(path):
            channel.send(header, payload)
        path.unlink()
    place.unlink(missing_ok=True)
    return outcome


def _watched(recipe: Recipe, settings: Settings, channel: Channel | ranks.KeptChannel) -> dict[str, Any]:
    session = Session(channel)
    watch = adapter.attach(session)  # type: ignore[arg-type]
    try:
        return _train(recipe, settings, session, watch.detach)
    finally:
        watch.detach()


def _train(recipe: Recipe, settings: Settings, session: Session, detach: Callable[[], None]) -> dict[str, Any]:
    """What became of it: exit status, held-out gain by the true targets (NaN if not finite), the printed curve."""
    if recipe.planted:
        settings = settings.with_flags(recipe.planted.flags(settings))
    task = build(settings)
    if settings.ranks > 1:
        task.synchronise = lambda: ranks.average(task.model.parameters())
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
