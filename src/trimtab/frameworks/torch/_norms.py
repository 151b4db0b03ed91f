"""Norms of many tensors for one read of their bytes, from squares in float32 or wider, rescaled outside its range."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

# torch.dot is the faster reader of a long contiguous vector (it beats vector_norm by about two),
# _foreach_norm of many short ones. Measured by benchmarks/watch.py.
LONG = 32_768

# Below, the squares of a tensor of up to 1e8 entries may fall under float32's least normal number.
SMALLEST_SAFE_NORM = 1e-14

# So many numbers are sooner fetched one by one than stacked first.
FEW = 24

_foreach_norm = torch._foreach_norm

Numbers = list[float] | Tensor
Norms = np.ndarray[Any, np.dtype[np.float64]]
NO_FIXES: dict[int, float] = {}


@dataclass(frozen=True)
class NormPlan:
    """How the tensors of one list are read: `long` by dot, `short` in one multi-tensor call.

    `order[i]` is the position in the list of the i-th number that `read` returns, the long ones
    first; these are squares, the rest are norms. `floors[i]` is the least i-th number that can be trusted.
    """

    long: tuple[int, ...]
    short: tuple[int, ...]
    floors: tuple[float, ...]
    widen: bool
    on_cpu: bool

    @cached_property
    def is_simple(self) -> bool:
        """One call reads all, and its few numbers are fetched one by one."""
        return self.on_cpu and not self.long and not self.widen and len(self.short) < FEW

    @property
    def squares(self) -> int:
        return len(self.long)

    @property
    def order(self) -> tuple[int, ...]:
        return self.long + self.short

    def read(self, tensors: list[Tensor]) -> Numbers:
        """One number per tensor, in `order`: floats, or where the host would have to wait, a tensor on its device.

        Raises RuntimeError where a tensor has changed its layout since the plan was made.
        """
        if self.is_simple:
            return [n.item() for n in _foreach_norm(tensors)]
        if self.long:
            long = [tensors[i].view(-1) for i in self.long]
            norms = [torch.dot(flat, flat) for flat in long]
            if self.short:
                norms += self._norms([tensors[i] for i in self.short])
        else:
            norms = self._norms(tensors)
        if self.on_cpu and len(norms) < FEW:
            return [n.item() for n in norms]
        stacked = torch.stack(norms)
        return stacked.tolist() if self.on_cpu else stacked

    def _norms(self, tensors: list[Tensor]) -> list[Tensor]:
        return list(torch._foreach_norm(tensors, 2, dtype=torch.float32 if self.widen else None))

    def trusts(self, numbers: Sequence[float]) -> bool:
        """False where a number is NaN, infinite or so small that its squares have lost digits."""
        if not sum(numbers) < math.inf:
            return False
        return all(map(operator.ge, numbers, self.floors)) if self.long else min(numbers) >= SMALLEST_SAFE_NORM


def plan_norms(tensors: Sequence[Tensor]) -> NormPlan | None:
    """The cheapest correct way to read `tensors`; None where they need `careful_norm` one by one."""
    if not tensors or any(not _is_plain(t) for t in tensors):
        return None
    dtypes = {t.dtype for t in tensors}
    if len({t.device for t in tensors}) > 1 or (torch.float64 in dtypes and len(dtypes) > 1):
        return None
    long = [i for i, t in enumerate(tensors) if _reads_by_dot(t)]
    chosen = set(long)
    short = [i for i in range(len(tensors)) if i not in chosen]
    return NormPlan(
        long=tuple(long),
        short=tuple(short),
        floors=(SMALLEST_SAFE_NORM**2,) * len(long) + (SMALLEST_SAFE_NORM,) * len(short),
        widen=bool(dtypes & {torch.float16, torch.bfloat16}),
        on_cpu=tensors[0].is_cpu,
    )


class Reading(NamedTuple):
    """The norms of a list of tensors at one moment; where they are on a device, still there until `norms` is asked.

    `fixes` holds, by position in the list, what `careful_norm` found where the quick number could not be trusted.
    """

    plan: NormPlan | None
    numbers: Numbers
    fixes: dict[int, float]

    def norms(self) -> Norms:
        """2-norms in the order of the list, shape (n,)."""
        if self.plan is None:
            return np.array(list(self.fixes.values()), dtype=np.float64)
        if self.plan.is_simple and not self.fixes:
            return np.array(self.numbers)
        return np.asarray(norm_table(self.plan, [self])[0])

    def where_they_are(self, scale: float | Tensor = 1.0) -> Norms | Tensor:
        """The same, divided by `scale`; on a device still there, where the host has not waited for them."""
        if self.plan is None or self.plan.on_cpu or not isinstance(self.numbers, Tensor):
            return self.norms() / float(scale)
        norms = torch.cat([self.numbers[: self.plan.squares].sqrt(), self.numbers[self.plan.squares :]])
        return norms[torch.tensor(self.plan.order, device=norms.device).argsort()] / scale


def read_norms(tensors: list[Tensor], plan: NormPlan | None) -> Reading:
    """Read all `tensors`. On the CPU numbers that can't be trusted are put right at once; elsewhere
    that would make the host wait, so that they stay as they are."""
    if plan is None:
        return Reading(None, [], {i: careful_norm(t) for i, t in enumerate(tensors)})
    numbers = plan.read(tensors)
    if not isinstance(numbers, list) or plan.trusts(numbers):
        return Reading(plan, numbers, NO_FIXES)
    doubtful = [
        place
        for value, floor, place in zip(numbers, plan.floors, plan.order, strict=True)
        if not floor <= value < math.inf
    ]
    return Reading(plan, numbers, {place: careful_norm(tensors[place]) for place in doubtful})


def norm_table(plan: NormPlan, readings: Sequence[Reading]) -> Norms:
    """Norms of many readings by one plan, shape (readings, tensors), in the order of the list."""
    if plan.on_cpu:
        numbers = np.array([r.numbers for r in readings])
    else:
        numbers = torch.stack([torch.as_tensor(r.numbers) for r in readings]).cpu().double().numpy()
    table = norms_of(plan, numbers)
    for row, reading in enumerate(readings):
        for place, norm in reading.fixes.items():
            table[row, place] = norm
    return table


def norms_of(plan: NormPlan, numbers: Norms) -> Norms:
    """From what `plan.read` returned, shape (readings, tensors), the norms in the order of the list."""
    numbers[:, : plan.squares] **= 0.5
    table = np.empty_like(numbers)
    table[:, plan.order] = numbers
    return table


def careful_norm(tensor: Tensor) -> float:
    """2-norm of one tensor of any layout, correct wherever the true value is a float64.

    Scaled by the largest |g|, so that a finite explosion (entries of 1e30) is not called infinite
    and entries of 1e-30 do not vanish. NaN or infinity if and only if an entry is.
    """
    values = dense_values(tensor)
    if values.numel() == 0:
        return 0.0
    largest = float(torch.linalg.vector_norm(values, math.inf))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())  # of the same 2-norm
    scaled = values.double() / largest if values.numel() <= LONG else _chunked_scaled(values, largest)
    return largest * float(torch.linalg.vector_norm(scaled))


def count_nonfinite(tensor: Tensor) -> int:
    """NaN and infinite entries."""
    values = dense_values(tensor)
    return values.numel() - int(torch.isfinite(values).sum())


def dense_values(tensor: Tensor) -> Tensor:
    """The entries that a tensor holds here: a sparse tensor's values (repeated indices summed), a shard's own part."""
    tensor = tensor.detach()
    if hasattr(tensor, "to_local"):
        tensor = tensor.to_local()
    if tensor.layout == torch.sparse_coo:
        return tensor.coalesce().values()
    if tensor.layout != torch.strided:
        return tensor.values()
    return tensor


def _chunked_scaled(values: Tensor, largest: float) -> Tensor:
    flat = values.reshape(-1)
    norms = [torch.linalg.vector_norm(chunk.double() / largest) for chunk in torch.split(flat, 1 << 20)]
    return torch.stack(norms)


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.layout == torch.strided
        and tensor.is_floating_point()
        and tensor.dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    )


def _reads_by_dot(tensor: Tensor) -> bool:
    return tensor.numel() >= LONG and tensor.is_contiguous() and tensor.dtype in (torch.float32, torch.float64)
