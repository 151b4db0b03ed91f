"""The script's own gradient clipping: what the gradients were before it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad

from .._guard import Guard
from .._patches import Patches
from ._norms import NormPlan, Reading, plan_norms, read_norms


@dataclass
class ClipCall:
    """One call of the script's clip: the raw norms of `ids`, parameters in the order of the call.

    `factor` is what every gradient was multiplied by, once known; None where the clip is no
    multiplication (by value).
    """

    ids: list[int]
    raw: Reading
    factor: float | None = None


class ClipReader:
    """Wraps `clip_grad_norm_` and `clip_grad_value_`, before the script imports them."""

    def __init__(self, guard: Guard, on_clip: Callable[[ClipCall], None]) -> None:
        self._on_clip = on_clip
        self._before = guard(self.read)
        self._after = guard(self._note_factor)
        self._ids: list[int] = []
        self._plan: NormPlan | None = None

    def attach(self, patches: Patches) -> None:
        for name, after in (("clip_grad_norm_", self._after), ("clip_grad_value_", None)):
            original = getattr(clip_grad, name)
            wrapper = self._wrap(original, after)
            for owner in (clip_grad, torch.nn.utils):
                patches.replace(owner, name, wrapper)

    def _wrap(self, original: Callable[..., Any], after: Callable[..., Any] | None) -> Callable[..., Any]:
        @functools.wraps(original)
        def clip(parameters: Tensor | Iterable[Tensor], *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return original(parameters, *args, **kwargs)
            if not isinstance(parameters, Tensor):
                parameters = list(parameters)
            call = self._before(parameters)
            result = original(parameters, *args, **kwargs)
            if after is not None and call is not None:
                after(call, result, args[0] if args else kwargs["max_norm"])
            return result

        return clip

    def read(self, parameters: Tensor | list[Tensor], factor: float | None = None) -> ClipCall:
        """The gradients of `parameters` are about to be clipped."""
        listed = [parameters] if isinstance(parameters, Tensor) else parameters
        present = [p for p in listed if p.grad is not None]
        grads = [p.grad for p in present if p.grad is not None]
        ids = [id(p) for p in present]
        if ids != self._ids:
            self._ids, self._plan = ids, plan_norms(grads)
        try:
            raw = read_norms(grads, self._plan)
        except RuntimeError:  # a gradient came in another layout than last time
            self._plan = plan_norms(grads)
            raw = read_norms(grads, self._plan)
        call = ClipCall(ids, raw, factor)
        self._on_clip(call)
        return call

    def _note_factor(self, call: ClipCall, total: Tensor, limit: float) -> None:
        """torch multiplies by min(1, limit / (total + 1e-6)) (torch/nn/utils/clip_grad.py)."""
        if total.is_cpu:
            call.factor = min(1.0, float(limit) / (float(total) + 1e-6))
