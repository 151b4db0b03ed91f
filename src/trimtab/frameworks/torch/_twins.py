"""Units that are copies of each other: rows of a weight that are equal, found by projection.

Two rows are equal where their products with two fixed vectors are; comparing those costs one reading of the weight and
a sort, where comparing rows would cost their number squared. The vectors are the fractional parts of the multiples of
two irrational numbers: nothing is drawn at random, and no two entries of one are alike.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TOLERANCE = 1e-6
CHUNK = 1 << 18
# Longer rows would need longer vectors than a reading should take.
MAX_LENGTH = 1 << 20
_IRRATIONAL = ((1 + math.sqrt(5)) / 2, math.sqrt(2))


class TwinFinder:
    """Keeps the vectors, one pair per length of a row and place."""

    def __init__(self) -> None:
        self._vectors: dict[tuple[int, torch.device], Tensor] = {}

    def share(self, weight: Tensor, norm: float) -> float | None:
        """Share of the rows of `weight` that equal another one to TOLERANCE of its root mean square; `norm` is its
        2-norm."""
        if weight.dim() < 2 or weight.layout != torch.strided or not weight.is_floating_point() or not weight.numel():
            return None
        units, length = weight.shape[0], weight.numel() // weight.shape[0]
        if length > MAX_LENGTH or not math.isfinite(norm):
            return None
        # Entries that differ at random by TOLERANCE of the rms move a product by so much.
        allowed = TOLERANCE * norm / math.sqrt(units)
        first, second = self._products(weight, length)
        first, order = first.sort()
        second = second[order]
        alike = (first.diff().abs() <= allowed) & (second.diff().abs() <= allowed)
        none = alike.new_zeros(1)
        twins = torch.cat((alike, none)) | torch.cat((none, alike))
        return int(twins.sum()) / units

    def _products(self, weight: Tensor, length: int) -> Tensor:
        """Every row's products with both vectors, shape (2, units). Multiplied and added, not by a matrix product,
        whose precision the script's settings may lower."""
        vectors = self._vectors_of(length, weight.device)
        parts = torch.split(weight.detach(), max(1, CHUNK // length))
        return torch.cat([(part.reshape(1, -1, length).float() * vectors).sum(2) for part in parts], dim=1)

    def _vectors_of(self, length: int, device: torch.device) -> Tensor:
        """Shape (2, 1, length), entries in [-1/2, 1/2)."""
        key = (length, device)
        if key not in self._vectors:
            multiples = torch.arange(1, length + 1, dtype=torch.float64, device="cpu")
            rows = [(multiples * number).frac() - 0.5 for number in _IRRATIONAL]
            self._vectors[key] = torch.stack(rows)[:, None].float().to(device)
        return self._vectors[key]
