"""One watched optimizer: its tensors' names, and its rows until they are sent in blocks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._outbox import Outbox
from .._rows import send_steps, send_tensors
from ._census import Untrained, census
from ._failures import FailureTeller
from ._guarding import Act, StepGuard
from ._names import Naming, module_names, name_parameters
from ._norms import NO_FIXES, NormPlan, Norms, Reading, norm_table, norms_of, plan_norms, read_norms
from ._samples import Sampler

BLOCK_STEPS = 64
BLOCK_SECONDS = 1.0
# A block costs about half a millisecond to send, whatever its length: quick steps send longer ones.
LEAST_BLOCK_SECONDS = 0.5


@dataclass(slots=True)
class StepRow:
    """One step, as cheaply as it can be noted; numbers may still be tensors on their device."""

    step: int
    time: float
    losses: list[float | Tensor]
    lr: float | Tensor
    lr_max: float | Tensor
    reading: Reading
    raw: Reading | None = None
    clip_factor: float | None = None
    grad_scale: float | Tensor = 1.0
    loss_scale: float | Tensor = 1.0
    sampled: bool = False
    skipped: bool = False
    evaluations: int = 0
    watch_seconds: float = 0.0
    samples: dict[str, list[Any]] = field(default_factory=dict)
    act: Act | None = None

    def true_norms(self) -> Norms | Tensor:
        """Of the gradients as they are now, behind the script's own clip and without a scaler's factor."""
        return self.reading.where_they_are(self.grad_scale) * (1.0 if self.clip_factor is None else self.clip_factor)

    def raw_norm(self) -> float | None:
        """Of the whole gradient before the script's own clip; None where it has not clipped."""
        raw = self.reading if self.clip_factor is not None else self.raw
        return None if raw is None else float(np.linalg.norm(raw.norms()))

    def note_mapped(self, reading: Reading) -> None:
        """A policy has changed the gradients entry by entry: they read as `reading` now."""
        if self.raw is None:
            self.raw = Reading(None, [], dict(enumerate(self.reading.norms().tolist())))
        self.reading, self.clip_factor = reading, None
        self.samples.pop("grad_max", None)

    def settle(self) -> bool:
        """Whether a policy withheld the step; waits for the device where that is known only there."""
        self.skipped = self.skipped or (self.act is not None and self.act.told().skip)
        return self.skipped


# A quick step, as (step, time, losses, lr, lr_max, numbers of the plan in force, watch_seconds, evaluations).
QuickRow = tuple[int, float, list[float | Tensor], Any, Any, list[float], float, int]


class StandIn(ABC):
    """Stands in for an optimizer of another library: it has `param_groups` and `state`, and describes itself."""

    param_groups: list[dict[str, Any]]
    #: A view of a parameter whose first axis is its units'.
    with_units_first: Callable[[Tensor], Tensor]

    @property
    @abstractmethod
    def state(self) -> Mapping[Any, dict[str, Any]]:
        """Of each parameter, as a torch optimizer keeps it."""

    @abstractmethod
    def describe(self) -> tuple[Naming, dict[str, Any]]:
        """The names of its tensors, and what run.json says of it."""


class WatchedOptimizer:
    """What is known of one optimizer; holds no reference to it or to its parameters."""

    def __init__(self, index: int, optimizer: torch.optim.Optimizer, outbox: Outbox, failures: FailureTeller) -> None:
        self.index = index
        self.steps = 0
        self.pending: StepRow | None = None
        self.guard: StepGuard | None = None
        self.depth = 0
        self.nests = False  # its step calls its parent's
        self.evaluates_once = False  # the closure, where it was given one last time
        self.sampler = Sampler(optimizer.with_units_first if isinstance(optimizer, StandIn) else None)
        self.failures = failures
        self._outbox = outbox
        self._block: list[StepRow | QuickRow] = []
        self._sent = 0.0
        self._plan: NormPlan | None = None
        self._mask: list[int] | None = None
        self._module_names: dict[int, str] = {}
        self.rename(optimizer)

    def rename(self, optimizer: torch.optim.Optimizer) -> None:
        """Learn the names of the optimizer's tensors (again, when a parameter group was added)."""
        self.naming: Naming
        self._facts: dict[str, Any]
        if isinstance(optimizer, StandIn):
            self.naming, self._facts = optimizer.describe()
        else:
            self.naming, self._facts = _describe(optimizer)
        self.parameters = sum(len(group["params"]) for group in optimizer.param_groups)
        self.is_sharded = any(hasattr(p, "to_local") for group in optimizer.param_groups for p in group["params"])
        self._all = list(range(self.parameters))
        self._mask = None
        self.untrained = Untrained(self.naming)

    @property
    def info(self) -> dict[str, Any]:
        """What `series.info` says of this optimizer."""
        guard = {} if self.guard is None else {"policies": self.guard.policies}
        return self._facts | {"untrained": self.untrained.names} | guard

    def read(self, grads: list[Tensor], present: list[int] | None) -> Reading:
        """Norms of `grads`; `present` are the places of those parameters that have one, None for all."""
        if self.expect(present) or self._plan is None:
            self._plan = plan_norms(grads)
        try:
            return read_norms(grads, self._plan)
        except RuntimeError:  # a gradient came in another layout than last time
            self.send()
            self._plan = plan_norms(grads)
            return read_norms(grads, self._plan)

    def expect(self, present: list[int] | None) -> bool:
        """The rows to come are of the parameters at these places; True where these are others than before."""
        mask = self._all if present is None else present
        if mask == self._mask:
            return False
        self.send()
        self._mask = mask
        self._plan = None
        return True

    def quick_step(
        self,
        optimizer: torch.optim.Optimizer,
        losses: list[float | Tensor],
        now: float,
        spent: float,
        evaluations: int = 0,
    ) -> bool:
        """Note a step of which nothing but the norms is wanted, at the least cost. False, and nothing noted, where it
        is not so simple."""
        groups = optimizer.param_groups
        if len(groups) == 1:
            grads = [p.grad for p in groups[0]["params"]]
            lr = lr_max = groups[0]["lr"]
        else:
            grads = [p.grad for group in groups for p in group["params"]]
            lr, lr_max = groups[0]["lr"], max(group["lr"] for group in groups)
        plan = self._plan
        if (
            plan is None
            or self._mask is not self._all
            or len(grads) != self.parameters
            or self.nests
            or self.is_sharded
        ):
            return False
        try:
            numbers = plan.read(grads)
        except (RuntimeError, TypeError, AttributeError):  # a gradient that is None, or of another layout
            return False
        if not isinstance(numbers, list) or not plan.trusts(numbers):
            return False
        age = now - self._sent
        if age > LEAST_BLOCK_SECONDS and (len(self._block) >= BLOCK_STEPS or age > BLOCK_SECONDS):
            self.send()
            self._sent = now
        self._block.append((self.steps, now, losses, lr, lr_max, numbers, spent, evaluations))
        self.steps += 1
        return True

    def newest_norms(self) -> Norms:
        """Of the gradients of the step noted last, a quick one."""
        row = self._block[-1]
        assert not isinstance(row, StepRow)
        return Reading(self._plan, row[5], NO_FIXES).norms()

    def newest_in_full(self) -> StepRow:
        """The row of the step noted last, with room for more to be said of it."""
        row = self._block[-1]
        full = row if isinstance(row, StepRow) else _full_row(row, self._plan)
        self._block[-1] = full
        return full

    def evaluated_again(self) -> None:
        """The step noted last, a quick one, goes on to evaluate its closure: no longer expect it to do so once."""
        self.evaluates_once = False
        row = self._block[-1]
        if not isinstance(row, StepRow):
            self._block[-1] = (*row[:-1], row[-1] + 1)

    def finish_step(self) -> None:
        """The pending step is over: its row joins the block."""
        row, self.pending = self.pending, None
        if row is not None:
            self.note(row)

    def note(self, row: StepRow) -> None:
        """Put a row into the block, which is sent when it is long or old. A sampled step is a block of its own."""
        alone = row.sampled or bool(row.samples)
        if alone:
            self.send()
        self._block.append(row)
        age = row.time - self._sent
        if alone or age > BLOCK_SECONDS or (len(self._block) >= BLOCK_STEPS and age > LEAST_BLOCK_SECONDS):
            self.send()
            self._sent = row.time

    def send(self) -> None:
        """Send the block as rows of `steps` and `tensors`."""
        block, self._block = self._block, []
        if not block:
            return
        quick = [row for row in block if not isinstance(row, StepRow)]
        if len(quick) == len(block) and self._plan is not None:
            self._send_quick(quick, self._plan)
        else:
            self._send_full([row if isinstance(row, StepRow) else _full_row(row, self._plan) for row in block])

    def _send_quick(self, block: list[QuickRow], plan: NormPlan) -> None:
        """The same as `_send_full` of a block that needs less, at a quarter of its cost."""
        step, time, losses, lr, lr_max, numbers, spent, evaluations = zip(*block, strict=True)
        count = len(block)
        norms = norms_of(plan, np.array(numbers))
        steps = np.array(step)
        columns: dict[str, Any] = {
            "time": np.array(time),
            "loss": [loss[0] if len(loss) == 1 else _mean(loss) for loss in losses],
            "backwards": np.fromiter(map(len, losses), "<i4", count),
            "lr": _floats(lr),
            "lr_max": _floats(lr_max),
            "evaluations": np.array(evaluations),
            "skipped": np.zeros(count, bool),
            "loss_scale": np.ones(count),
            "sampled": np.zeros(count, bool),
            "watch_seconds": np.array(spent),
        }
        self._send_steps(steps, columns, norms, norms)
        self._send_tensors(steps, {}, norms, norms)

    def _send_full(self, block: list[StepRow]) -> None:
        applied, raw = self._norms(block)
        steps = np.array([row.step for row in block])
        columns: dict[str, Any] = {
            "time": np.array([row.time for row in block]),
            "loss": [_mean(row.losses) for row in block],
            "backwards": np.array([len(row.losses) for row in block]),
            "lr": _floats([row.lr for row in block]),
            "lr_max": _floats([row.lr_max for row in block]),
            "evaluations": np.array([row.evaluations for row in block]),
            "skipped": np.array([row.settle() for row in block]),
            "loss_scale": _floats([row.loss_scale for row in block]),
            "sampled": np.array([row.sampled for row in block]),
            "watch_seconds": np.array([row.watch_seconds for row in block]),
        }
        self._send_steps(steps, columns, applied, raw)
        self._send_tensors(steps, block[0].samples, applied, raw)  # a sampled step is a block of its own
        self._send_guard(block, raw)
        if self._plan is not None and not self._plan.on_cpu and (bad := ~np.isfinite(raw).all(1)).any():
            first = int(bad.argmax())  # on a device it is only known now
            self.tell_nonfinite(block[first], raw[first])

    def _send_guard(self, block: list[StepRow], raw: Norms) -> None:
        if self.guard is None:
            return
        for row, norms in zip(block, raw, strict=True):
            if row.act is not None and row.act.is_late:
                self.guard.log.add(row.step, norms, row.act.told())
        columns = self.guard.log.take(self.index)
        if columns is not None:
            self._outbox.rows("guard", columns)

    def tell_nonfinite(
        self,
        row: StepRow,
        norms: np.ndarray[Any, Any],
        forward: dict[str, Any] | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        """Tell that gradients of a step were not finite; `norms` are those before any clip, of the tensors in turn."""
        places = self._mask if self._mask is not None else self._all
        bad = [self.naming.names[i] for i, norm in zip(places, norms, strict=True) if not np.isfinite(norm)]
        self.failures.nonfinite(row.step, bad, row.losses, forward, weights)

    def send_modules(self, row: StepRow, rows: list[dict[str, Any]]) -> None:
        """Send the module rows of a sampled step; gradients are freed of the loss scaler's factor."""
        if any(r["module"] not in self._module_names for r in rows if not isinstance(r["module"], str)):
            self._module_names = module_names(self.naming.roots)
        scale = _number(row.loss_scale) or math.nan
        for r in rows:
            if not isinstance(r["module"], str):
                r["module"] = self._module_names.get(r["module"], r["kind"])
            r |= {name: _number(r[name]) / scale for name in ("grad_rms", "grad_max") if name in r}
        quantities = dict.fromkeys(name for r in rows for name in r)
        if rows:
            columns: dict[str, Any] = {name: [_plain(r.get(name)) for r in rows] for name in quantities}
            self._outbox.rows("modules", self._key(row, len(rows)) | columns)

    def send_loss(self, row: StepRow, rows: list[dict[str, Any]], leftover: float | None, alone: bool) -> None:
        """Send what the step's loss function was given: the largest one's, where there were several. `alone`: no
        other optimizer takes turns with this one."""
        if not rows and not row.losses:
            return
        main = max(rows, key=_size_of_loss, default={"kind": "unknown"})
        # Chance was reckoned from the targets of one loss function, of one optimizer.
        several = len(rows) > len(row.losses) or not alone
        columns: dict[str, Any] = {name: [value] for name, value in main.items() if not (several and name == "chance")}
        if leftover is not None:
            columns["leftover_grad_norm"] = [leftover]
        self._outbox.rows("losses", self._key(row, 1) | columns)

    def _key(self, row: StepRow, count: int) -> dict[str, Any]:
        return {"optimizer": np.full(count, self.index), "step": np.full(count, row.step)}

    def _norms(self, block: list[StepRow]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Applied and raw norms, each of shape (steps, tensors)."""
        read = _table([row.reading for row in block])
        scale = np.array([_number(row.grad_scale) for row in block])[:, None]
        with np.errstate(all="ignore"):
            read /= scale
        raw, applied = read, read
        if any(row.raw is not None for row in block):
            raw = np.array([r if row.raw is None else row.raw.norms() for r, row in zip(read, block, strict=True)])
        if any(row.clip_factor is not None for row in block):
            factors = np.array([1.0 if row.clip_factor is None else row.clip_factor for row in block])
            applied = read * factors[:, None]
        if any(row.act is not None for row in block):
            scales = [1.0 if row.act is None or row.settle() else row.act.factor() for row in block]
            applied = np.array([norms * scale for norms, scale in zip(applied, scales, strict=True)])
        return applied, raw

    def _send_steps(self, steps: Norms, columns: dict[str, Any], applied: Norms, raw: Norms) -> None:
        send_steps(self._outbox, self.index, steps, columns, applied, raw)

    def _send_tensors(self, steps: Norms, samples: dict[str, list[Any]], applied: Norms, raw: Norms) -> None:
        if self._mask is not None:
            names = [self.naming.names[i] for i in self._mask]
            send_tensors(self._outbox, self.index, steps, names, samples, applied, raw)


def _full_row(row: QuickRow, plan: NormPlan | None) -> StepRow:
    step, time, losses, lr, lr_max, numbers, spent, evaluations = row
    reading = Reading(plan, numbers, NO_FIXES)
    return StepRow(step, time, losses, lr, lr_max, reading, evaluations=evaluations, watch_seconds=spent)


def _table(readings: list[Reading]) -> np.ndarray[Any, Any]:
    plan = readings[0].plan
    if plan is not None and all(reading.plan is plan for reading in readings):
        return norm_table(plan, readings)
    return np.array([reading.norms() for reading in readings])


def _mean(losses: list[float | Tensor]) -> float | None:
    return sum(_number(loss) for loss in losses) / len(losses) if losses else None


def _floats(values: Iterable[float | Tensor]) -> Norms:
    return np.array([float(value) for value in values])


def _size_of_loss(row: dict[str, Any]) -> float:
    value = row["value"]
    return abs(value) if value is not None and value == value else 0.0


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Tensor) else value


def _number(value: float | Tensor) -> float:
    return float(value)


def _describe(optimizer: torch.optim.Optimizer) -> tuple[Naming, dict[str, Any]]:
    """The names of its tensors, and what run.json says of it."""
    naming = name_parameters(optimizer)
    groups = [
        {
            key: float(value) if isinstance(value, Tensor) else value
            for key, value in group.items()
            if _is_setting(value)
        }
        for group in optimizer.param_groups
    ]
    tensors = [
        {
            "name": name,
            "shape": list(p.shape),
            "dtype": str(p.dtype).removeprefix("torch."),
            "device": str(p.device),
            "trainable": p.requires_grad,
        }
        for name, p in zip(naming.names, (p for g in optimizer.param_groups for p in g["params"]), strict=True)
    ]
    kind = type(optimizer)
    return naming, {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "groups": groups,
        "tensors": tensors,
        "model": naming.model,
        **census(naming),
    }


def _is_setting(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return (
        value is None
        or isinstance(value, (bool, int, float, str))
        or (isinstance(value, tuple) and all(isinstance(v, (bool, int, float)) for v in value))
    )
