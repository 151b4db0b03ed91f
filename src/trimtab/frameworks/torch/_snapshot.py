"""Copies of weights and optimizer state, kept in memory and written when a training fails."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from weakref import ref

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
    _optimizer: ref[torch.optim.Optimizer] | None = None
    _names: Sequence[str] = ()

    def maybe_copy(self, optimizer: torch.optim.Optimizer, step: int, names: Sequence[str]) -> None:
        """Copy the weights as they are before step `step`, if it is time."""
        began = perf_counter()
        if self.directory is None or began < self._due:
            return
        self.follow(optimizer, names)
        reused = self.copies.pop(0) if len(self.copies) == 2 else Snapshot(0, {}, {})
        copy = _copy_of(optimizer, step, names, reused)
        if copy is None:
            self._due = float("inf")
            return
        self.copies.append(copy)
        took = perf_counter() - began
        self.seconds += took
        self._due = began + took / SHARE

    def follow(self, optimizer: torch.optim.Optimizer, names: Sequence[str]) -> None:
        """Know of whom the copies are, to make one when a step fails."""
        self._optimizer, self._names = ref(optimizer), names

    def write(
        self,
        failed_step: int,
        event: dict[str, Any],
        *,
        at_once: bool = False,
        batch: dict[str, Tensor] | None = None,
    ) -> dict[str, Any] | None:
        """Write the newest copy that is older than `failed_step` as safetensors; what was written, or None.

        `at_once`: the failed step has not been taken yet, so that the weights of this moment are those that
        failed; they are written as well. `batch` is what the step was given.
        """
        if self.directory is None or self.written:
            return None
        failed = self._copy_now(failed_step) if at_once else None
        older = next((copy for copy in reversed(self.copies) if copy.step <= failed_step), None)
        copy = older or failed
        if copy is None:
            return None
        self.written = True
        facts = {"snapshot_step": copy.step, "failed_step": failed_step, "age_steps": failed_step - copy.step}
        folder = os.path.join(self.directory, "blackbox")
        os.makedirs(folder, exist_ok=True)
        if not _claim(folder, {**facts, **event}):
            return None
        _save(copy.weights, folder, "weights")
        _save(copy.state, folder, "optimizer")
        if failed is not None:
            _save(failed.weights, folder, "failed")
            _save(failed.state, folder, "failed_optimizer")
        _save(batch or {}, folder, "batch")
        size = sum(t.numel() * t.element_size() for t in (*copy.weights.values(), *copy.state.values()))
        return {"file": "blackbox/weights.safetensors", "age_steps": failed_step - copy.step, "bytes": size}

    def _copy_now(self, step: int) -> Snapshot | None:
        optimizer = None if self._optimizer is None else self._optimizer()
        if optimizer is None or sum(len(group["params"]) for group in optimizer.param_groups) != len(self._names):
            return None
        return _copy_of(optimizer, step, self._names, Snapshot(0, {}, {}))


def _copy_of(optimizer: torch.optim.Optimizer, step: int, names: Sequence[str], reused: Snapshot) -> Snapshot | None:
    """Weights and state as they are now; the weights alone, or None, where two of them would take too much."""
    parameters = [dense_values(p) for group in optimizer.param_groups for p in group["params"]]
    weight_bytes = sum(p.numel() * p.element_size() for p in parameters)
    if 2 * weight_bytes > MAX_BYTES:
        return None
    state = _state_tensors(optimizer, names)
    state_bytes = sum(t.numel() * t.element_size() for t in state.values())
    if 2 * (weight_bytes + state_bytes) > MAX_BYTES:
        state = {}
    weights = dict(zip(names, parameters, strict=True))
    return Snapshot(step, _copy(weights, reused.weights), _copy(state, reused.state))


def _claim(folder: str, event: dict[str, Any]) -> bool:
    """Write event.json; False where an optimizer or process that failed earlier has done so."""
    try:
        with open(os.path.join(folder, "event.json"), "x", encoding="utf-8") as file:
            json.dump(event, file, indent=1)
    except FileExistsError:
        return False
    return True


def _save(tensors: dict[str, Tensor], folder: str, part: str) -> None:
    from safetensors.torch import save_file

    if tensors:
        save_file(tensors, os.path.join(folder, f"{part}.safetensors"))


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
