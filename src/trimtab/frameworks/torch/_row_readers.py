"""The rows that go into a model: of training batches at sampled steps, and of the first batch of each validation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.modules.module import register_module_forward_pre_hook

from .._guard import Guard
from .._patches import Patches
from .._seen_rows import Rows, SeenRows, few, fingerprints

MAX_PASSES = 64


class RowReader:
    """Fingerprints of what the first module with parameters is given.

    A validation begins with `eval()`: from there to the next call of such a module a global hook is in place, and never
    at any other time. It is not after a script has compiled something, which global hooks would make it do anew.
    """

    def __init__(self, guard: Guard, seen: SeenRows, trains: Callable[[], bool]) -> None:
        self._seen = seen
        self._trains = trains
        self._arm_guarded = guard(self._arm)
        self._hook = guard(self._before_forward)
        self._handle: Any = None
        self._read: Rows = ()
        self._size = 0
        self._left = MAX_PASSES

    def attach(self, patches: Patches) -> None:
        original, arm = Module.train, self._arm_guarded

        @functools.wraps(original)
        def train(module: Any, mode: bool = True) -> Any:
            if not mode:
                arm()
            return original(module, mode)

        patches.replace(Module, "train", train)
        patches.add(self)

    def stop(self) -> None:
        """Look at no more."""
        self._left = 0
        self.remove()

    def remove(self) -> None:
        """Take the hook away, where it is in place."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def of_training(self, inputs: tuple[Any, ...]) -> None:
        """The first module with parameters got these, at a sampled step."""
        if not self._seen.is_over and self._left and (x := rows_of(inputs)) is not None:
            self._seen.trained(_fingerprints(x))

    def take(self, rows: int) -> Rows:
        """What was read for the loss of so many rows: of all of them, or of more where each has several losses."""
        read, self._read = self._read, ()
        return read if read and rows % self._size == 0 else ()

    def _arm(self) -> None:
        if self._handle is None and self._left and not self._seen.is_over and self._trains():
            self._handle = register_module_forward_pre_hook(self._hook)

    def _before_forward(self, module: Module, inputs: tuple[Any, ...]) -> None:
        if not any(p is not None for p in module._parameters.values()):
            return
        self.remove()
        self._left -= 1
        if not torch.is_grad_enabled() and (x := rows_of(inputs)) is not None:
            self._read, self._size = _fingerprints(x), len(x)


def rows_of(inputs: tuple[Any, ...]) -> Tensor | None:
    """What a module is given, if it is a dense tensor of several rows."""
    x = inputs[0] if inputs else None
    if type(x) is not Tensor or x.layout != torch.strided or x.is_complex() or x.dim() == 0 or len(x) < 2:
        return None
    return x.detach()


def _fingerprints(x: Tensor) -> Rows:
    count = few(len(x), x[0].numel() * x.element_size())
    data = x[:count].contiguous().cpu().reshape(-1)
    return fingerprints(data.view(torch.uint8).numpy().reshape(count, -1))
