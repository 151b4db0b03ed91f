"""Gradient scalers: the factor that is in the loss and in the gradients, and the steps they withhold."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from .._guard import Guard
from .._patches import Patches


class ScalerReader:
    """Wraps `GradScaler.scale` and `GradScaler.step`, through which every subclass passes.

    `scale` is the newest factor: a float, or a tensor where reading it would make the host wait.
    """

    def __init__(self, guard: Guard, on_withheld: Callable[[torch.optim.Optimizer], None]) -> None:
        self.scale: float | Tensor = 1.0
        self.is_used = False
        self._remember = guard(self._note_scaled)
        self._on_withheld = guard(on_withheld)
        self._scaled: ref[Tensor] | None = None
        self._stepped: set[int] = set()

    def attach(self, patches: Patches) -> None:
        for name, wrap in (("scale", self._wrap_scale), ("step", self._wrap_step)):
            patches.replace(GradScaler, name, wrap(getattr(GradScaler, name)))

    def factor_of(self, root: Tensor) -> float | Tensor | None:
        """What the scaler multiplied `root` by; None for a loss that it did not make."""
        return self.scale if self._scaled is not None and self._scaled() is root else None

    def still_in_gradients(self, optimizer: torch.optim.Optimizer) -> float | Tensor:
        """The factor that a fused optimizer has yet to divide its gradients by; else 1."""
        scale = getattr(optimizer, "grad_scale", None) if self.is_used else None
        return 1.0 if scale is None else scale

    def found_inf(self, optimizer: torch.optim.Optimizer) -> bool:
        """A fused optimizer will withhold this step itself (read only where the host need not wait)."""
        found = getattr(optimizer, "found_inf", None) if self.is_used else None
        return isinstance(found, Tensor) and found.is_cpu and bool(found)

    def note_step(self, optimizer: torch.optim.Optimizer) -> None:
        """`optimizer` is really taking a step."""
        if self.is_used:
            self._stepped.add(id(optimizer))

    def note(self, scaled: Tensor, factor: float | Tensor) -> None:
        """A loss that was multiplied by `factor`."""
        self.is_used, self._scaled, self.scale = True, ref(scaled), factor

    def _note_scaled(self, scaler: GradScaler, scaled: Any) -> None:
        if isinstance(scaled, Tensor) and scaler.is_enabled() and scaler._scale is not None:
            self.note(scaled, float(scaler._scale) if scaler._scale.is_cpu else scaler._scale.clone())

    def _wrap_scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def scale(scaler: GradScaler, outputs: Any) -> Any:
            scaled = original(scaler, outputs)
            self._remember(scaler, scaled)
            return scaled

        return scale

    def _wrap_step(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(scaler: GradScaler, optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
            self._stepped.discard(id(optimizer))
            result = original(scaler, optimizer, *args, **kwargs)
            if id(optimizer) not in self._stepped and scaler.is_enabled():
                self._on_withheld(optimizer)
            return result

        return step
