"""The training loop of the corpus, as a script would have it; it knows nothing of trimtab."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

import common

from .task import Settings, Task


@dataclass
class Curve:
    """What a script would print: by validation pass (step, training loss, held-out loss, held-out gain)."""

    points: list[tuple[int, float, float, float]] = field(default_factory=list)


def train(task: Task, s: Settings) -> Curve:
    """Run every step; validate now and then."""
    parameters = task.parameters() if task.parameters else list(task.model.parameters())
    optimizer = common.make_optimizer(s.optimizer, parameters, lr=s.lr, weight_decay=s.weight_decay)
    scheduler = _scheduler(optimizer, s)
    every = max(1, s.steps // s.validations) if s.validations else s.steps + 1
    batches, curve, losses = Batches(len(task.train[0]), s), Curve(), []
    for step in range(s.steps):
        rows = batches.next()
        x, y = task.disturb(step, task.prepare(task.train[0][rows]), task.train[1][rows])
        losses.append(take_step(task, s, optimizer, x, y))
        if scheduler is not None:
            scheduler.step()
        if (step + 1) % every == 0:
            curve.points.append((step, sum(losses) / len(losses), *validate(task)))
            losses = []
    return curve


def take_step(task: Task, s: Settings, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> float:
    task.model.train()

    def closure() -> Tensor:
        if s.zero_grad:
            optimizer.zero_grad()
        loss = torch.zeros(())
        for part, target in zip(x.chunk(s.accumulate), y.chunk(s.accumulate), strict=True):
            part_loss = task.loss(task.answer(part), target)
            (part_loss / s.accumulate if s.accumulate > 1 else part_loss).backward()
            loss += part_loss.detach() / s.accumulate
        task.synchronise()
        common.clip_gradients(task.model.parameters(), common.clip_spec(s.clip))
        return loss

    if s.optimizer == "lbfgs":
        return float(cast(Tensor, optimizer.step(closure)))  # type: ignore[arg-type]
    loss = closure()
    optimizer.step()
    return float(loss)


def validate(task: Task) -> tuple[float, float]:
    """Held-out loss and gain, with the targets that the script has."""
    task.model.eval()
    x, y = task.held_out
    with torch.no_grad():
        out = task.answer(x)
        return float(task.loss(out, y)), task.gain(out, y)


def score(task: Task) -> float:
    """The gain on held-out rows by their true targets; NaN where an output is not finite."""
    task.model.eval()
    with torch.no_grad():
        out = task.answer(task.held_out[0])
    return task.gain(out, task.truth) if bool(torch.isfinite(out).all()) else float("nan")


class Batches:
    """Rows in random order, epoch by epoch, another on each rank; a last, smaller batch is left out."""

    def __init__(self, rows: int, s: Settings) -> None:
        self._rows, self._size = rows, min(s.batch_size, rows)
        self._order = torch.empty(0, dtype=torch.long)
        self._random = torch.Generator().manual_seed(s.seed + 1000 * s.rank)

    def next(self) -> Tensor:
        if len(self._order) < self._size:
            self._order = torch.randperm(self._rows, generator=self._random)
        batch, self._order = self._order[: self._size], self._order[self._size :]
        return batch


def _scheduler(optimizer: torch.optim.Optimizer, s: Settings) -> torch.optim.lr_scheduler.LRScheduler | None:
    if s.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, s.steps)
    if s.schedule == "warmup":
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 20))
    if s.schedule == "step":
        return torch.optim.lr_scheduler.MultiStepLR(optimizer, [s.steps // 2, 3 * s.steps // 4], gamma=0.1)
    return None
