"""Copies of weights and optimizer state, kept in memory and written when a training fails."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from ._norms import dense_values

MAX_BYTES = 256 << 20
SHARE = 0.01


@dataclass
class Snapshot:
    step: int
    weights: dict[str, Tensor]
    state: dict[str, Tensor]


@dataclass
class SnapshotKeeper:
    """Holds the two newest copies of one optimizer's weights and state, on the host.

    A copy is made at sampled steps, so seldom that copying takes about a hundredth of the time, and
    into the older copy's memory. A model whose copies would exceed MAX_BYTES has its weights alone
    kept; one whose weights would, nothing.
    """

    directory: str | None
    copies: list[Snapshot] = field(default_factory=list)
    seconds: float = 0.0
    _due: float = 0.0
    written: bool = False

    def maybe_copy(self, optimizer: torch.optim.Optimizer, step: int, names: Sequence[str]) -> None:
        """Copy the weights as they are before step `step`, if it is time."""
        began = perf_counter()
        if self.directory is None or began < self._due:
            return
        parameters = [dense_values(p) for group in optimizer.param_groups for p in group["params"]]
        weight_bytes = sum(p.numel() * p.element_size() for p in parameters)
        if 2 * weight_bytes > MAX_BYTES:
            self._due = float("inf")
            return
        weights = dict(zip(names, parameters, strict=True))
        state = _state_tensors(optimizer, names)
        state_bytes = sum(t.numel() * t.element_size() for t in state.values())
        if 2 * (weight_bytes + state_bytes) > MAX_BYTES:
            state = {}
        reused = self.copies.pop(0) if len(self.copies) == 2 else Snapshot(0, {}, {})
        self.copies.append(Snapshot(step, _copy(weights, reused.weights), _copy(state, reused.state)))
        took = perf_counter() - began
        self.seconds += took
        self._due = began + took / SHARE

    def write(self, failed_step: int, event: dict[str, Any]) -> dict[str, Any] | None:
        """Write the newest copy that is older than `failed_step` as safetensors; what was written, or None."""
        older = [copy for copy in self.copies if copy.step <= failed_step]
        if self.directory is None or self.written or not older:
            return None
        from safetensors.torch import save_file

        self.written = True
        copy = older[-1]
        folder = os.path.join(self.directory, "blackbox")
        os.makedirs(folder, exist_ok=True)
        save_file(copy.weights, os.path.join(folder, "weights.safetensors"))
        if copy.state:
            save_file(copy.state, os.path.join(folder, "optimizer.safetensors"))
        facts = {"snapshot_step": copy.step, "failed_step": failed_step, "age_steps": failed_step - copy.step}
        with open(os.path.join(folder, "event.json"), "w", encoding="utf-8") as file:
            json.dump({**facts, **event}, file, indent=1)
        size = sum(t.numel() * t.element_size() for t in (*copy.weights.values(), *copy.state.values()))
        return {"file": "blackbox/weights.safetensors", "age_steps": failed_step - copy.step, "bytes": size}


def _state_tensors(optimizer: torch.optim.Optimizer, names: Sequence[str]) -> dict[str, Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        f"{name}/{key}": dense_values(value)
        for name, p in zip(names, parameters, strict=True)
        for key, value in optimizer.state.get(p, {}).items()
        if isinstance(value, Tensor) and value.layout == torch.strided
    }


def _copy(tensors: dict[str, Tensor], reused: dict[str, Tensor]) -> dict[str, Tensor]:
    copies = {}
    for name, tensor in tensors.items():
        into = reused.get(name)
        if into is None or into.shape != tensor.shape or into.dtype != tensor.dtype:
            into = torch.empty(tensor.shape, dtype=tensor.dtype)
        copies[name] = into.copy_(tensor)
    return copies
