"""Failures: the first non-finite gradients of an optimizer, an exception, and the black box that each leaves."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._norms import count_nonfinite
from ._outbox import Session
from ._scaler import ScalerReader
from ._snapshot import SnapshotKeeper


class FailureTeller:
    """Tells of one optimizer's first non-finite gradients, once."""

    def __init__(self, session: Session, scaler: ScalerReader) -> None:
        self.keeper = SnapshotKeeper(session.directory)
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
            self._write_black_box(step, {"kind": "nonfinite", **data})

    def blow_up(self, step: int, loss: float) -> None:
        """The loss, still finite, has grown out of all proportion at `step`."""
        self._write_black_box(step, {"kind": "blow-up", "loss": loss})

    def exception(self, step: int) -> None:
        """The process may be ending by an exception that nobody caught: then write the black box."""
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
        if isinstance(error, Exception):
            self._write_black_box(step, {"kind": "exception", "type": type(error).__name__})

    def _write_black_box(self, step: int, event: dict[str, Any]) -> None:
        with torch.no_grad():
            written = self.keeper.write(step, event)
        if written is not None:
            self._session.event("snapshot", **written)
