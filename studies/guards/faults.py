"""The faults: what each does to the settings of a training before it is built, and to the training after."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from studies.calibration import plants
from studies.calibration.task import Settings, Task

TIMES = 100.0
EARLIEST, LATEST = 0.2, 0.8
"""A fault of one step falls into this part of the training."""

QUIET = 1e-3
QUIET_STEPS = 10_000
"""How long the stretch of gradients `QUIET` times as large has lasted for Adam's second moment."""


@dataclass(frozen=True)
class Planting:
    """A training that is built. `at`: the step at which what happens once happens."""

    task: Task
    settings: Settings
    optimizer: torch.optim.Optimizer
    at: int


@dataclass(frozen=True)
class Fault:
    says: str
    flags: Callable[[Settings], dict[str, Any]] = lambda s: {}
    plant: Callable[[Planting], None] = lambda planting: None


def step_of(base: str, fault: str, seed: int, steps: int) -> int:
    """Drawn from the middle of the training; the same with every policy."""
    return int(steps * random.Random(f"{base} {fault} {seed}").uniform(EARLIEST, LATEST))


def bad_batch(factor: float) -> Callable[[Planting], None]:
    """One batch whose inputs are `factor` times as large; its targets, where they are values; its loss, where inputs
    are nodes or characters."""

    def plant(p: Planting) -> None:
        if p.settings.family in ("gcn", "transformer"):
            _times_loss(p, lambda step: factor if step == p.at else 1.0)
        elif p.task.kind == "values":
            p.task.disturb = lambda step, x, y: (x, factor * y) if step == p.at else (x, y)
        else:
            p.task.disturb = lambda step, x, y: (factor * x, y) if step == p.at else (x, y)

    return plant


def stale_second_moment(p: Planting) -> None:
    """Losses `QUIET` times as large up to step `at`, then as they are: Adam divides by a moment that is far too small.

    Adam knows no scale, so that the quiet stretch trains as any. It is too short for a moment whose memory is 1000
    steps long: what `QUIET_STEPS` of them would have left is put into the optimizer's place, the same mean of squares
    without the correction for a young one.
    """

    def factor(step: int) -> float:
        if step == p.at:
            _age(p.optimizer)
        return QUIET if step < p.at else 1.0

    _times_loss(p, factor)


def _age(optimizer: torch.optim.Optimizer) -> None:
    beta = optimizer.param_groups[0]["betas"][1]
    for state in optimizer.state.values():
        state["exp_avg_sq"].div_(1.0 - beta ** float(state["step"]))
        state["step"].fill_(QUIET_STEPS)


def _times_loss(p: Planting, factor: Callable[[int], float]) -> None:
    """Multiply the loss of each training step; that of a validation stays as it is."""
    task, loss, now = p.task, p.task.loss, [1.0]

    def disturb(step: int, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        now[0] = factor(step)
        return x, y

    task.disturb = disturb
    task.loss = lambda out, y: now[0] * loss(out, y) if task.model.training else loss(out, y)


def _recurrent(p: Planting) -> None:
    plants.times_recurrent(2.0)(p.task, p.settings)


FAULTS: dict[str, Fault] = {
    "": Fault("none"),
    "bad-batch": Fault("one batch 100 times too large", plant=bad_batch(TIMES)),
    "nan-batch": Fault("one batch of NaN", plant=bad_batch(float("nan"))),
    "lr-x10": Fault("learning rate × 10", flags=plants.times_lr(10.0)),
    "normal-init": Fault("weights from N(0, 1)", flags=lambda s: {"init": "normal:1"}),
    "recurrent-x2": Fault("recurrent weights × 2", plant=_recurrent),
    "stale": Fault("stale second moment", plant=stale_second_moment),
}
