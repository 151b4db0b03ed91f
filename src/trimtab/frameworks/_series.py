"""The host's side of optimizers whose steps are taken elsewhere: in a traced graph, or ahead of us on a device.

A backend measures inside its step and hands the numbers over when they arrive, in the order of the steps; here they
become the same rows as those of any other training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from ._guarding import UNGUARDED, WHO_IS, Acts, GuardLog, say_unguarded
from ._outbox import Outbox, Session
from ._rows import Norms, send_steps, send_tensors

BLOCK_STEPS = 64
BLOCK_SECONDS = 1.0


@dataclass(slots=True)
class Step:
    """One step of one optimizer, as numbers.

    `norms` and `raw` hold the 2-norm of every gradient of `names`: as the optimizer applied it, and before any clip
    (None: the same). A norm is NaN or infinite if and only if an entry is. `samples` are further columns of
    the table `tensors`, each with an entry per name, at a sampled step.
    """

    names: Sequence[str]
    norms: Sequence[float] | Norms
    lr: float | None
    raw: Sequence[float] | Norms | None = None
    loss: float | None = None
    backwards: int = 1
    loss_scale: float = 1.0
    skipped: bool = False
    sampled: bool = False
    time: float | None = None
    lr_max: float | None = None
    watch_seconds: float = 0.0
    samples: dict[str, Sequence[float | None]] = field(default_factory=dict)
    acts: Acts | None = None  # what the policies did; None: nothing


class Hub:
    """All such optimizers of a process; get it by `Hub.of(session)`."""

    _of: ClassVar[WeakKeyDictionary[Session, Hub]] = WeakKeyDictionary()

    @classmethod
    def of(cls, session: Session) -> Hub:
        """The hub of `session`, made when it is first asked for: several frameworks may share a process."""
        hub = cls._of.get(session)
        if hub is None:
            hub = cls._of[session] = cls(session)
            session.on_exit(hub.flush)
            session.on_fork(hub._in_child)
        return hub

    def __init__(self, session: Session) -> None:
        self._session = session
        self.outbox = Outbox(session)
        self._series: list[Series] = []
        self._newest: Series | None = None
        self._said: set[str] = set()
        self._fetch: list[Callable[[], None]] = []

    def at_flush(self, callback: Callable[[], None]) -> None:
        """Have `callback` fetch what is still on its way (in rings, on devices) before the last rows are sent."""
        self._fetch.append(callback)

    def series(self, info: dict[str, Any], guard: GuardLog | None = None) -> Series:
        """A new optimizer, and what logs its policies if any guard it. `info` is its entry in run.json: "class" (full
        name), "groups" (settings: a list with one dict), "tensors" (dicts of name, shape, dtype, device, trainable,
        and `fan_in_of`), "model" (class name), and where they are known "modules" ({class: count}), "dropout" (rates)
        and "untrained" (names)."""
        if not self._series:
            self._session.position = self._position
        if guard is None:
            self._say_unguarded()
        else:
            info["policies"] = list(guard.policies)
        new = Series(len(self._series), info, self, guard)
        self._series.append(new)
        self.describe()
        return new

    def describe(self) -> None:
        """Tell run.json what is known of the optimizers; again, when an `info` has changed."""
        self._session.describe(optimizers=[series.info for series in self._series])

    def unseen(self, what: str, why: str) -> None:
        """Say once that something cannot be seen."""
        if what not in self._said:
            self._said.add(what)
            self._session.event("unseen", what=what, why=why)

    def event(self, kind: str, **data: Any) -> None:
        self._session.event(kind, **data)

    def now(self) -> float:
        return monotonic() - self._session.started

    def flush(self) -> None:
        for fetch in self._fetch:
            fetch()
        for series in self._series:
            series.send()

    def note_newest(self, series: Series) -> None:
        self._newest = series

    def _say_unguarded(self) -> None:
        """Policies were asked for, and none acts on this optimizer."""
        if self._session.policies and UNGUARDED not in self._said:
            self.unseen(UNGUARDED, f"No policy acts: {WHO_IS}.")
            say_unguarded(WHO_IS)

    def _position(self) -> tuple[int, int]:
        return (-1, -1) if self._newest is None else (self._newest.index, self._newest.steps - 1)

    def _in_child(self) -> None:
        self._series.clear()
        self._newest = None


class Series:
    """One optimizer: its steps until they are sent in blocks."""

    def __init__(self, index: int, info: dict[str, Any], hub: Hub, guard: GuardLog | None) -> None:
        self.index = index
        self.info = info
        self.steps = 0
        self._hub = hub
        self._guard = guard
        self._block: list[Step] = []
        self._sent = 0.0
        self._told_nonfinite = False

    def add(self, step: Step, forward: dict[str, Any] | None = None) -> int:
        """Record one step; its number. `forward` says where the first non-finite value arose, as the data of a
        `nonfinite` event does, where that is known."""
        if step.time is None:
            step.time = self._hub.now()
        if self._block and list(self._block[0].names) != list(step.names):
            self.send()
        alone = step.sampled or bool(step.samples)
        if alone:
            self.send()
        number, self.steps = self.steps, self.steps + 1
        self._hub.note_newest(self)
        if self._guard is not None and step.acts is not None:
            self._guard.add(number, np.asarray(step.norms if step.raw is None else step.raw), step.acts)
        self._block.append(step)
        if alone or len(self._block) >= BLOCK_STEPS or step.time - self._sent > BLOCK_SECONDS:
            self.send()
            self._sent = step.time
        self._look_for_nonfinite(step, number, forward)
        return number

    def modules(self, step: int, rows: Sequence[dict[str, Any]]) -> None:
        """Rows of the table `modules` of one sampled step, in the order of the forward pass."""
        if rows:
            quantities = dict.fromkeys(name for row in rows for name in row)
            columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in quantities}
            self._hub.outbox.rows("modules", self._key(step, len(rows)) | columns)

    def loss(self, step: int, row: dict[str, Any]) -> None:
        """The row of the table `losses` of one sampled step."""
        self._hub.outbox.rows("losses", self._key(step, 1) | {name: [value] for name, value in row.items()})

    def send(self) -> None:
        """Send the block."""
        block, self._block = self._block, []
        if not block:
            return
        steps = np.arange(self.steps - len(block), self.steps)
        applied = np.array([step.norms for step in block], dtype=np.float64).reshape(len(block), -1)
        raw = applied
        if any(step.raw is not None for step in block):
            raw = np.array([step.norms if step.raw is None else step.raw for step in block], dtype=np.float64)
        columns: dict[str, Any] = {
            "time": [step.time for step in block],
            "loss": [step.loss for step in block],
            "backwards": [step.backwards for step in block],
            "lr": [step.lr for step in block],
            "lr_max": [step.lr if step.lr_max is None else step.lr_max for step in block],
            "evaluations": np.zeros(len(block)),
            "skipped": [step.skipped for step in block],
            "loss_scale": [step.loss_scale for step in block],
            "sampled": [step.sampled for step in block],
            "watch_seconds": [step.watch_seconds for step in block],
        }
        send_steps(self._hub.outbox, self.index, steps, columns, applied, raw)
        samples = {name: list(values) for name, values in block[0].samples.items()}
        send_tensors(self._hub.outbox, self.index, steps, list(block[0].names), samples, applied, raw)
        did = None if self._guard is None else self._guard.take(self.index)
        if did is not None:
            self._hub.outbox.rows("guard", did)

    def _key(self, step: int, count: int) -> dict[str, Any]:
        return {"optimizer": np.full(count, self.index), "step": np.full(count, step)}

    def _look_for_nonfinite(self, step: Step, number: int, forward: dict[str, Any] | None) -> None:
        """The first non-finite gradient is told at once. One of a scaled loss's first steps, by which the scaler finds
        its factor, is no news."""
        scaled = step.loss_scale != 1.0
        norms = step.norms if step.raw is None else step.raw
        if self._told_nonfinite or (scaled and number < 2) or all(map(math.isfinite, norms)):
            return
        self._told_nonfinite = True
        bad = [name for name, norm in zip(step.names, norms, strict=True) if not math.isfinite(norm)]
        self._hub.event(
            "nonfinite",
            tensors=bad[::-1],
            loss_finite=None if step.loss is None else math.isfinite(step.loss),
            weights_nonfinite=[
                name
                for name, norm in zip(step.names, step.samples.get("weight_norm", ()), strict=False)
                if norm is not None and not math.isfinite(norm)
            ],
            forward=forward,
            backward_pass=step.backwards,
            scaled=scaled,
        )


def fan_in_of(name: str, shape: Sequence[int]) -> dict[str, int]:
    """The entry `fan_in` of a tensor's facts, where it is a kernel as Keras and flax lay it out: inputs first."""
    last = name.rpartition("/")[2]
    if not last.endswith("kernel") or len(shape) < 2:
        return {}
    return {"fan_in": math.prod(shape[:2] if last == "depthwise_kernel" else shape[:-1])}
