"""`trimtab.guard` where nothing watches: two hooks on one optimizer, and no record."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor
from torch.nn import Module

from ...policies import Policy
from .._guarding import say_unguarded
from ._closures import closure_of, followed, with_closure
from ._guarding import Given, StepGuard, gradients_of, layout_of
from ._names import name_parameters
from ._norms import NormPlan, Reading, plan_norms, read_norms

Optimizer = torch.optim.Optimizer


_ALONE: WeakKeyDictionary[Optimizer, GuardedAlone] = WeakKeyDictionary()


class GuardedAlone:
    """Measures the gradients of one optimizer before each step, and lets the policies act on them."""

    def __init__(self, optimizer: Optimizer, model: Module | None, policy: Policy) -> None:
        named = name_parameters(optimizer).roots if model is None else (ref(model),)
        roots = [root for r in named if (root := r()) is not None]
        self._guard = StepGuard(policy, optimizer, layout_of(optimizer, roots), roots=named)
        self._plan: NormPlan | None = None
        self._ids: list[int] = []
        self._steps = 0
        self._hooks: list[Any] = []

    def attach(self, optimizer: Optimizer) -> None:
        """Guard `optimizer`; whatever guarded it before is gone."""
        if optimizer in _ALONE:
            _ALONE[optimizer].detach()
        _ALONE[optimizer] = self
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def detach(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._guard.begin(optimizer)
        closure = closure_of(args, kwargs)
        if closure is None:
            self._act(optimizer)
            return None
        if isinstance(optimizer, torch.optim.LBFGS):
            self._guard.keep(optimizer)
        return with_closure(args, kwargs, followed(closure, self._act, optimizer))

    def _after(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._guard.restore(optimizer)
        self._guard.log.forget()
        self._steps += 1

    def _act(self, optimizer: Optimizer) -> None:
        try:
            parameters, grads, present = gradients_of(optimizer)
            scale = getattr(optimizer, "grad_scale", None)
            unscale = 1.0 if scale is None else scale
            norms = self._read(parameters, grads).where_they_are(unscale)
            if self._guard.lets_pass(norms):
                return
            self._guard.act(optimizer, self._steps, Given(parameters, grads, present, norms, unscale))
        except Exception as error:
            self._guard.restore(optimizer)
            self.detach()
            say_unguarded(f"{type(error).__name__}: {error}")

    def _read(self, parameters: list[Tensor], grads: list[Tensor]) -> Reading:
        ids = [id(p) for p in parameters]
        if ids != self._ids:
            self._ids, self._plan = ids, plan_norms(grads)
        try:
            return read_norms(grads, self._plan)
        except RuntimeError:  # a gradient came in another layout than last time
            self._plan = plan_norms(grads)
            return read_norms(grads, self._plan)
