"""One training, with its fault and under its policy; what came of it."""

from __future__ import annotations

import hashlib
import statistics
import time
from dataclasses import dataclass

import torch
from studies.calibration import corpus, loop
from studies.calibration.families import build, common, settings_of  # type: ignore[attr-defined]
from studies.calibration.task import Settings, Task

import trimtab

from .faults import FAULTS, Planting, step_of
from .plan import POLICIES, Run

LOOKS = 5
"""Validations in the last tenth of the steps, the last after the last step."""


@dataclass(frozen=True)
class Result:
    """`final`: the median of the last tenth's held-out losses; `last_training`: of its training losses; infinite where
    not finite. `digest`: of the weights and buffers at the end, the same if and only if they are bit for bit."""

    run: Run
    final: float
    last_training: float
    digest: str
    seconds: float


def train(run: Run) -> Result:
    began = time.process_time()
    fault = FAULTS[run.fault]
    settings = settings_of(run.family, run.seed, corpus.BASES[run.base][1])
    settings = settings.with_flags(fault.flags(settings))
    task = build(settings)
    optimizer = common.make_optimizer(
        settings.optimizer, list(task.model.parameters()), lr=settings.lr, weight_decay=settings.weight_decay
    )
    if run.policy:
        trimtab.guard(optimizer, task.model, *POLICIES[run.policy])
    fault.plant(Planting(task, settings, optimizer, step_of(run.base, run.fault, run.seed, settings.steps)))
    training, held_out = _losses(task, settings, optimizer)
    if run.policy and not optimizer._optimizer_step_pre_hooks:
        raise RuntimeError(f"{run.name}: the guard has given up")
    return Result(run, _median(held_out), _median(training), digest(task.model), time.process_time() - began)


def _losses(task: Task, s: Settings, optimizer: torch.optim.Optimizer) -> tuple[list[float], list[float]]:
    """The last tenth's training losses, and its held-out losses at some steps."""
    tail = s.steps // 10
    looks = {s.steps - 1 - i * tail // LOOKS for i in range(LOOKS)}
    batches, training, held_out = loop.Batches(len(task.train[0]), s), [], []
    for step in range(s.steps):
        rows = batches.next()
        x, y = task.disturb(step, task.train[0][rows], task.train[1][rows])
        training.append(loop.take_step(task, s, optimizer, x, y))
        if step in looks:
            held_out.append(loop.validate(task)[0])
    return training[-tail:], held_out


def _median(losses: list[float]) -> float:
    """Infinite where one is not finite."""
    finite = all(abs(loss) < float("inf") for loss in losses)
    return statistics.median(losses) if finite else float("inf")


def digest(model: torch.nn.Module) -> str:
    parts = (tensor.detach().cpu().numpy().tobytes() for tensor in model.state_dict().values())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
