"""The dearer quantities of a sampled step: weights, updates, extremes, and g^2/v of Adam-like optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ._norms import careful_norm, count_nonfinite, dense_values
from ._scale import largest
from ._twins import TwinFinder

BUFFER_BYTES = 64 << 20
CHUNK = 1 << 20


@dataclass
class Sampler:
    """Measures one optimizer's tensors around a step.

    The weights before the step are copied into a buffer of at most BUFFER_BYTES that is kept; where all do not fit,
    the tensors take turns. `with_units_first` answers with a view of a parameter whose first axis is its units', where
    they are not there already.
    """

    with_units_first: Callable[[Tensor], Tensor] | None = None
    _buffers: dict[int, Tensor] = field(default_factory=dict)
    _turn: int = 0
    _twins: TwinFinder = field(default_factory=TwinFinder)

    def before(self, parameters: Sequence[Tensor], grads: Sequence[Tensor]) -> dict[str, list[Any]]:
        """Columns for `parameters` as the step begins; `grads` are theirs, none of them None."""
        self._keep_weights(parameters)
        values = [dense_values(g) for g in grads]
        highest = [float(largest(g)) if g.numel() else 0.0 for g in values]
        norms = [_norm(p) for p in parameters]
        return {
            "grad_max": highest,
            "grad_nonfinite": [
                0 if math.isfinite(high) else count_nonfinite(g) for high, g in zip(highest, values, strict=True)
            ],
            "grad_zeros": [g.numel() - int(torch.count_nonzero(g)) for g in values],
            "weight_norm": norms,
            "twin_units": [self._twin_units(p, norm) for p, norm in zip(parameters, norms, strict=True)],
        }

    def _twin_units(self, p: Tensor, norm: float) -> float | None:
        weight = p if self.with_units_first is None else self.with_units_first(p)
        return self._twins.share(dense_values(weight), norm)

    def after(self, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor]) -> dict[str, list[Any]]:
        """Columns of what the step did; None in a list where a tensor was not measured."""
        of_group = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        changes = [self._change(p) for p in parameters]
        return {
            "update_norm": [None if change is None else _norm(change) for change in changes],
            "g2_over_v": [_g2_over_v(optimizer.state.get(p), of_group[id(p)], p.grad) for p in parameters],
            "lost_updates": [
                None if change is None else _share_lost(change, p.grad)
                for change, p in zip(changes, parameters, strict=True)
            ],
        }

    def _change(self, p: Tensor) -> Tensor | None:
        """What the step took from `p`, in the memory of the weights before it, which are spent."""
        before = self._buffers.get(id(p))
        return None if before is None else before.sub_(p.detach())

    def _keep_weights(self, parameters: Sequence[Tensor]) -> None:
        room = BUFFER_BYTES
        order = [*parameters[self._turn :], *parameters[: self._turn]]
        buffers: dict[int, Tensor] = {}
        for taken, p in enumerate(order):
            size = p.numel() * p.element_size()
            if type(p.data) is not Tensor or size > BUFFER_BYTES:
                continue
            if size > room:
                self._turn = (self._turn + taken) % len(order)
                break
            room -= size
            kept = self._buffers.get(id(p))
            if kept is None or kept.shape != p.shape or kept.dtype != p.dtype or kept.device != p.device:
                kept = torch.empty_like(p)
            buffers[id(p)] = kept.copy_(p.detach())
        self._buffers = buffers


def _norm(p: Tensor) -> float:
    values = dense_values(p)
    dtype = torch.float32 if values.dtype in (torch.float16, torch.bfloat16) else None
    norm = float(torch.linalg.vector_norm(values, dtype=dtype)) if values.numel() else 0.0
    return norm if 0 < norm < math.inf else careful_norm(p)


def _share_lost(change: Tensor, grad: Tensor | None) -> float | None:
    """Of the entries with a gradient, the share whose change is exactly 0; None where there is no dense gradient."""
    if grad is None or grad.layout != torch.strided or grad.shape != change.shape:
        return None
    with_gradient = int(torch.count_nonzero(grad))
    if not with_gradient or int(torch.count_nonzero(change)) == change.numel():
        return 0.0 if with_gradient else None
    parts = (torch.split(t.reshape(-1), CHUNK) for t in (change, grad.detach()))
    lost = sum(int(torch.count_nonzero((c == 0) & (g != 0))) for c, g in zip(*parts, strict=True))
    return lost / with_gradient


def _g2_over_v(state: dict[str, Any] | None, group: dict[str, Any], grad: Tensor | None) -> float | None:
    """sqrt(mean(g^2 / v_hat)) with v_hat = v / (1 - beta2^t), of an optimizer that keeps `exp_avg_sq`.

    Source: Wortsman et al. 2023, arXiv:2304.13013, section 3.4 (RMS_t), with AdamW's epsilon squared
    as the floor of v_hat.
    """
    betas = group.get("betas")
    if not state or "exp_avg_sq" not in state or "step" not in state or grad is None or betas is None:
        return None
    v, g = dense_values(state["exp_avg_sq"]), dense_values(grad)
    if v.shape != g.shape:
        return None
    correction = 1.0 - float(betas[1]) ** float(state["step"])
    floor = float(group.get("eps", 1e-8)) ** 2
    total = 0.0
    parts = (torch.split(t.reshape(-1), CHUNK) for t in (v, g))
    for v_part, g_part in zip(*parts, strict=True):
        ratio = g_part.float().square().div_(v_part.float().div(correction).clamp_(min=floor))
        total += float(ratio.sum())
    return math.sqrt(total / g.numel()) if g.numel() else None
