"""The backward pass: the loss, and what can be read off its graph before the pass frees it."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from .._clock import SamplingClock
from .._guard import Guard
from .._patches import Patches
from ._graph import constant_divisor, first_hazard, first_nonfinite
from ._norms import careful_norm
from ._scaler import ScalerReader
from ._window import Window

# A loss of so many times the first one is a training lost: its black box is written.
BLOW_UP = 1000.0
# The limit once that has been told: only an infinite loss lies beyond.
NEVER = sys.float_info.max


class BackwardReader:
    """Wraps `torch.autograd.backward`, which `Tensor.backward` calls as well; owns the current window."""

    def __init__(
        self,
        guard: Guard,
        scaler: ScalerReader,
        clock: SamplingClock,
        optimizers: Callable[[], Iterable[tuple[int, torch.optim.Optimizer]]],
        names: Callable[[], dict[int, str]],
        on_blow_up: Callable[[float], None],
    ) -> None:
        self.window = Window()
        self.passes = 0
        self.under_way = False
        self._before = guard(self._read)
        self._scaler = scaler
        self._clock = clock
        self._optimizers = optimizers
        self._names = names
        self._loss_was_lost = False
        self._on_blow_up = guard(on_blow_up)
        self._limit = 0.0  # of |loss|; BLOW_UP times the first loss, once that is known
        self._divides = False  # the script divides its losses, to accumulate gradients

    def attach(self, patches: Patches) -> None:
        original = torch.autograd.backward
        note_plain = self._note_plain

        @functools.wraps(original)
        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if note_plain(tensors):
                return original(tensors, *args, **kwargs)
            self._before(tensors)
            self.under_way = True
            try:
                return original(tensors, *args, **kwargs)
            finally:
                self.under_way = False

        patches.replace(torch.autograd, "backward", backward)

    def _note_plain(self, root: Any) -> bool:
        """Note the value of a finite loss on the CPU of which nothing else is wanted: the common case, at the least
        cost. False, and nothing noted, where it is not so simple."""
        if self._clock.on or self._scaler.is_used or self._divides:
            return False
        if type(root) is not Tensor or not root.is_cpu or root.dim():
            return False
        loss = root.item()
        if type(loss) is not float or (not -self._limit <= loss <= self._limit and not self._is_finite(loss)):
            return False
        window = self.window
        if window.stepped or window.clips:
            window.begin_pass()
        window.losses.append(loss)
        self.passes += 1
        return True

    def _is_finite(self, loss: float) -> bool:
        """Of a loss beyond the limit; one that is, is told."""
        finite = math.isfinite(loss)
        if finite:
            self._check_size(loss)
        return finite

    def _check_size(self, loss: float) -> None:
        """The first loss sets the limit; the first beyond it is told, while a copy from before may still be had."""
        if not self._limit:
            self._limit = min(BLOW_UP * abs(loss), NEVER)
        elif self._limit < NEVER:
            self._limit = NEVER
            self._on_blow_up(loss)

    def _read(self, tensors: Any) -> None:
        self.window.begin_pass()
        self.passes += 1
        if self._clock.on and not self.window.losses:
            self.window.leftover = {
                index: norm
                for index, optimizer in self._optimizers()
                if (norm := _gradient_left_in(optimizer)) is not None
            }
        root = tensors if isinstance(tensors, Tensor) else tensors[0] if len(tensors) == 1 else None
        if root is None or root.numel() != 1 or not root.is_floating_point():
            return
        loss = self._loss_of(root)
        self.window.losses.append(loss)
        if isinstance(loss, float) and abs(loss) > self._limit:
            self._check_size(loss)
        self._look_for_faults(root, loss)

    def _loss_of(self, root: Tensor) -> float | Tensor:
        """The value of `root` with a scaler's factor and an accumulation's divisor undone."""
        value = float(root.detach()) if root.is_cpu else root.detach().clone()
        factor, node = self._scaler.factor_of(root), root.grad_fn
        if factor is not None:
            value = value / factor if not (isinstance(factor, float) and factor == 0) else math.nan
            node = node.next_functions[0][0] if node is not None else None
        divisor = constant_divisor(node)
        self._divides |= divisor != 1
        return value if divisor == 1 else value * divisor

    def _look_for_faults(self, root: Tensor, loss: float | Tensor) -> None:
        if isinstance(loss, float) and not math.isfinite(loss):
            if not self._loss_was_lost:
                self._loss_was_lost = True
                self.window.forward = first_nonfinite(root, self._names())
        elif self._clock.on and self.window.forward is None:
            self.window.forward = first_hazard(root, self._names())


def _gradient_left_in(optimizer: torch.optim.Optimizer) -> float | None:
    """2-norm of the gradients that are there before a backward pass; None where there are none."""
    grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return math.sqrt(sum(careful_norm(g) ** 2 for g in grads)) if grads else None
