"""The array namespace of policies over PyTorch: kernels on the gradients' own stream, nothing waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from ...policies import Axes


@dataclass(frozen=True)
class TorchNamespace:
    """`trimtab.policies.Namespace`; what it creates lies on `device`."""

    device: torch.device

    def quiet(self) -> AbstractContextManager[object]:
        return torch.no_grad()

    def full(self, size: int, value: float) -> Tensor:
        return torch.full((size,), value, dtype=torch.float32, device=self.device)

    def arange(self, size: int) -> Tensor:
        return torch.arange(size, dtype=torch.float32, device=self.device)

    def concat(self, arrays: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(arrays))

    def where(self, condition: Tensor, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.where(condition, x, y)

    def isfinite(self, x: Tensor) -> Tensor:
        return torch.isfinite(x)

    def minimum(self, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.minimum(x, y) if isinstance(y, Tensor) else torch.clamp(x, max=y)

    def maximum(self, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.maximum(x, y) if isinstance(y, Tensor) else torch.clamp(x, min=y)

    def sqrt(self, x: Tensor) -> Tensor:
        return torch.sqrt(x)

    def log(self, x: Tensor) -> Tensor:
        return torch.log(x)

    def abs(self, x: Tensor) -> Tensor:
        return torch.abs(x)

    def sign(self, x: Tensor) -> Tensor:
        return torch.where(torch.isnan(x), x, torch.sign(x))  # torch has sign(NaN) = 0

    def sort(self, x: Tensor) -> Tensor:
        return torch.sort(x).values

    def sum(self, x: Tensor, axes: Axes | None = None) -> Tensor:
        return torch.sum(self.wide(x), dim=axes, keepdim=axes is not None)

    def sum_of_squares(self, x: Tensor, axes: Axes | None = None) -> Tensor:
        return torch.sum(torch.square(self.wide(x)), dim=axes, keepdim=axes is not None)

    def wide(self, x: Tensor) -> Tensor:
        return x if x.dtype == torch.float64 else x.to(torch.float32)

    def like(self, x: Tensor, other: Tensor) -> Tensor:
        return x.to(other.dtype)
