"""Failures: the first non-finite gradients of an optimizer, an exception, and the black box that each leaves."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._outbox import Session
from ._batch import BatchKeeper
from ._norms import count_nonfinite
from ._scaler import ScalerReader
from ._snapshot import SnapshotKeeper


class FailureTeller:
    """Tells of one optimizer's first non-finite gradients, once."""

    def __init__(self, session: Session, scaler: ScalerReader, batch: BatchKeeper | None = None) -> None:
        self.keeper = SnapshotKeeper(session.directory)
        self._batch = batch
        self._session = session
        self._scaler = scaler
        self._told = False

    def nonfinite(
        self,
        step: int,
        tensors: list[str],
        losses: Sequence[float | Tensor],
        forward: dict[str, Any] | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        """`tensors` had a non-finite gradient at `step`, before any clip; `weights` are the parameters, where the step
        has not been taken yet.

        A gradient scaler finds its factor by trying: its first steps are no news.
        """
        scaled = self._scaler.is_used
        if self._told or (scaled and step < 2):
            return
        self._told = True
        values = [float(loss) for loss in losses]
        data: dict[str, Any] = {
            "tensors": tensors[::-1],
            "loss_finite": all(map(math.isfinite, values)) if values else None,
            "weights_nonfinite": [name for name, p in (weights or {}).items() if count_nonfinite(p)],
            "forward": forward,
            "backward_pass": len(values),
            "scaled": scaled,
        }
        self._session.event("nonfinite", **data)
        if not scaled:
            self._write_black_box(step, {"kind": "nonfinite", **data}, at_once=weights is not None)

    def blow_up(self, step: int, loss: float) -> None:
        """The loss has grown out of all proportion at `step`. Of one that is not finite the gradients will tell more,
        unless a scaler withholds their step."""
        if not math.isfinite(loss) and not self._scaler.is_used:
            return
        self._write_black_box(step, {"kind": "blow-up", "loss": loss}, at_once=True)

    def exception(self, step: int) -> None:
        """The process may be ending by an exception that nobody caught before it took step `step`: then write the
        black box."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if isinstance(error, Exception):
            event = {"kind": "exception", "type": type(error).__name__}
            self._write_black_box(step, event, at_once=True)

    def _write_black_box(self, step: int, event: dict[str, Any], *, at_once: bool) -> None:
        """`at_once`: weights and batch of this moment are those of the step that failed."""
        tensors: dict[str, Tensor] = {}
        if self._batch is not None:
            facts: dict[str, Any] = {"not_kept": "the failure was seen only after the step had been taken"}
            if at_once and not self.keeper.written:
                tensors, facts = self._batch.batch(of_step_under_way=event["kind"] == "exception")
            event = {**event, "batch": facts}
        with torch.no_grad():
            written = self.keeper.write(step, event, at_once=at_once, batch=tensors)
        if written is not None:
            self._session.event("snapshot", **written)
