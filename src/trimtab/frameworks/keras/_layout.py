"""What a traced step hands to the host: one float32 vector, and how it becomes a `Step`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._guarding import Acts, acts_of
from .._rows import Norms, total_norm
from .._series import Step

HEAD = ("lr", "loss", "passes", "loss_scale", "sampled", "applied")
Vector = np.ndarray[Any, Any]

#: Stands for "not measured" in a vector, where NaN is a NaN of the training: none of these quantities is negative.
UNMEASURED = -1.0


@dataclass(frozen=True)
class Layout:
    """The order in a vector: HEAD, the raw norms, what each of `policies` did (`Decided.acts`), the norms that they
    left where one `changes` gradients, the applied ones where they are measured apart, then each sampled quantity of
    every tensor.

    `clipnorm` and `global_clipnorm` are the optimizer's own clips by norm, which leave norms that follow from the
    raw ones; None where they are off.
    """

    names: tuple[str, ...]
    quantities: tuple[str, ...]
    has_loss: bool
    measures_applied: bool = False
    clipnorm: float | None = None
    global_clipnorm: float | None = None
    withholds: bool = False  # a step with a non-finite gradient is not taken
    policies: int = 0
    changes: bool = False

    @property
    def is_changed(self) -> bool:
        """What is applied may be something else than what was given, beyond a factor that follows from its norms."""
        return self.measures_applied or self.changes

    @property
    def sample_size(self) -> int:
        return len(self.names) * len(self.quantities)

    def read(self, vector: Vector) -> Reading:
        count, start = len(self.names), len(HEAD)
        values = np.asarray(vector, dtype=np.float64)
        head = dict(zip(HEAD, map(float, values[:start]), strict=True))
        raw = values[start : start + count] / head["loss_scale"]
        start += count
        acts = values[start : start + 2 * self.policies]
        start += 2 * self.policies
        left = raw
        if self.changes:
            left = values[start : start + count] / head["loss_scale"]
            start += count
        factors = self._factors(left)
        applied = left if factors is None else left * factors
        if self.measures_applied:
            applied = values[start : start + count] / head["loss_scale"]
            start += count
        samples = dict(zip(self.quantities, values[start:].reshape(len(self.quantities), count), strict=True))
        return Reading(self, head, raw, applied, samples, factors, acts_of(acts) if self.policies else None)

    def _factors(self, raw: Norms) -> Norms | None:
        """What the optimizer's clip multiplies each gradient by (keras/src/optimizers/base_optimizer.py,
        `_clip_by_norm` and `clip_by_global_norm`)."""
        if self.clipnorm:
            return np.asarray(self.clipnorm / np.maximum(raw, self.clipnorm))
        if self.global_clipnorm:
            total = float(total_norm(raw[None])[0])
            factor = self.global_clipnorm / max(total, self.global_clipnorm) if math.isfinite(total) else math.nan
            return np.full(len(raw), factor)
        return None


@dataclass(frozen=True)
class Reading:
    """One vector, read."""

    layout: Layout
    head: dict[str, float]
    raw: Norms
    applied: Norms
    samples: dict[str, Norms]
    factors: Norms | None
    acts: Acts | None

    @property
    def is_applied(self) -> bool:
        """A step was taken, or withheld: no gradients were put by for a later one."""
        return self.head["applied"] > 0 or self.is_withheld

    @property
    def is_withheld(self) -> bool:
        return self.layout.withholds and not bool(np.isfinite(self.raw).all())

    @property
    def is_left_out(self) -> bool:
        """Nothing was changed: by the loss scaler, or by a policy, which does not see what the scaler withholds."""
        return self.is_withheld or (self.acts is not None and self.acts.skip)

    @property
    def is_sampled(self) -> bool:
        return self.head["sampled"] > 0

    def losses(self, arrived: list[float]) -> list[float]:
        """Those of the step's backward passes: of several in the vector their mean, so many times; or those that have
        `arrived` beside it."""
        found = [self.head["loss"]] * round(self.head["passes"]) if self.layout.has_loss else arrived
        return [loss / self.head["loss_scale"] for loss in found]

    def step(self, losses: list[float], watch_seconds: float) -> Step:
        is_clipped = self.applied is not self.raw and not self.is_left_out
        return Step(
            names=self.layout.names,
            norms=self.applied if is_clipped else self.raw,
            raw=self.raw if is_clipped else None,
            lr=self.head["lr"],
            loss=sum(losses) / len(losses) if losses else None,
            backwards=len(losses),
            loss_scale=self.head["loss_scale"],
            skipped=self.is_left_out,
            sampled=self.is_sampled,
            watch_seconds=watch_seconds,
            samples=self._columns() if self.is_sampled and not self.is_left_out else {},
            acts=None if self.is_withheld else self.acts,
        )

    def _columns(self) -> dict[str, Sequence[float | None]]:
        columns: dict[str, Sequence[float | None]] = {}
        for name, values in self.samples.items():
            factors = self.factors if name in ("grad_max", "g2_over_v") else None
            scaled = values if factors is None else np.where(values < 0, values, values * factors)
            columns[name] = [None if value < 0 else float(value) for value in scaled]
        return columns
