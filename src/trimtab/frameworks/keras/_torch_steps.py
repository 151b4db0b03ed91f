"""Keras' steps on PyTorch: they are shown to what watches PyTorch, as if an optimizer of `torch.optim` took them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import keras
import torch
from keras.optimizers import LossScaleOptimizer
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.optimizers.schedules.learning_rate_schedule import LearningRateSchedule

from .._guard import Guard
from .._patches import Patches
from ..torch._names import Naming
from ..torch._optimizers import StandIn
from ..torch._watch import TorchWatch
from . import _settings
from ._apply import core_of
from ._names import roots_of, variable_names
from ._torch_reader import TorchReader
from ._twins import is_table


class Stepper(StandIn):
    """A Keras optimizer as PyTorch's watcher sees optimizers: `param_groups`, `state`, and `grad_scale`."""

    def __init__(self, optimizer: Any, variables: Sequence[Any]) -> None:
        self._optimizer = ref(optimizer)
        self.variables = list(variables)
        self.parameters: list[torch.Tensor] = [v.value for v in variables]
        settings = _settings.settings(core_of(optimizer)) | _settings.loss_scale_settings(optimizer)
        self.param_groups = [{"params": self.parameters, "lr": math.nan, **settings}]
        tables = frozenset(id(v.value) for v in variables if is_table(v))
        self.with_units_first = functools.partial(_with_units_first, tables)
        #: A loss scaler's factor, where it is still in the gradients.
        self.grad_scale: Any = None

    @property
    def state(self) -> dict[Any, dict[str, Any]]:
        """Of each parameter the moments of an Adam-like optimizer, and the steps taken."""
        core = core_of(self._optimizer())
        held, steps = getattr(core, "_velocities", None), float(core.iterations)
        if not held:
            return {}
        moments = [held[core._get_variable_index(v)] for v in self.variables]
        return {
            p: {"exp_avg_sq": moment.value, "step": steps}
            for p, moment in zip(self.parameters, moments, strict=True)
            if moment is not None
        }

    def describe(self) -> tuple[Naming, dict[str, Any]]:
        """The names of its tensors, and what run.json says of it."""
        roots = roots_of(self.variables, keras.Layer)
        names = variable_names(self.variables, roots)
        group = {key: value for key, value in self.param_groups[0].items() if key != "params"}
        facts = {
            "class": _settings.optimizer_class(core_of(self._optimizer())),
            "groups": [group],
            "tensors": _settings.tensors(self.variables, names),
            **_settings.census(roots),
        }
        return KerasNaming(tuple(names), tuple(ref(root) for root in roots)), facts


class KerasNaming(Naming):
    """Names by Keras' paths."""

    def parameters(self) -> list[tuple[torch.Tensor, str]]:
        alive: list[Any] = [root for r in self.roots if (root := r()) is not None]
        variables = [v for root in alive for v in root.trainable_variables]
        return [(v.value, name) for v, name in zip(variables, variable_names(variables, alive), strict=True)]


class TorchSteps:
    """Tells PyTorch's watcher of steps.

    The gradients that an optimizer applies, accumulated and freed of a scaler's factor, are those that it is about to
    clip; then, before any weight has changed, they are read.
    """

    def __init__(self, watch: TorchWatch, guard: Guard, patches: Patches) -> None:
        self._watch = watch
        self._reader = TorchReader(guard)
        watch.read_beside(self._reader)
        self._steppers: WeakKeyDictionary[Any, Stepper] = WeakKeyDictionary()
        self._variables: list[Any] = []
        self._stepping: Stepper | None = None
        self._scales = False
        self._put_by: list[tuple[Any, Any]] = []
        self._wrap_clipping(guard, patches)
        self._wrap_scaling(guard, patches)

    def made(self, optimizer: Any) -> None:
        self._watch.restart()

    def before(self, optimizer: Any, grads: list[Any], variables: list[Any] | None) -> Any:
        """An `apply` begins, which may only put gradients by."""
        core = core_of(optimizer)
        self._stepping = None
        self._variables = [
            v
            for g, v in zip(grads, variables or core._trainable_variables, strict=True)
            if g is not None and not getattr(v, "overwrite_with_gradient", False)
        ]
        if _applies_by_itself(core):
            self._measure(core, [g for g in grads if g is not None], None)
        return optimizer, grads

    def take(self, step: Any, call: Callable[[list[Any]], Any], grads: list[Any]) -> Any:
        """As it is: nothing guards it."""
        return call(grads)

    def settle(self, step: Any) -> None:
        """Nothing was left out."""

    def after(self, step: tuple[Any, list[Any]]) -> None:
        optimizer, grads = step
        stepper, self._stepping = self._stepping, None
        if stepper is not None:
            self._watch.after_step(stepper)
        elif core_of(optimizer) is not optimizer and not optimizer.check_finite(grads):
            self._withheld(optimizer, grads)
        for parameter, gradient in self._put_by:
            parameter.grad = gradient
        self._put_by = []

    def _wrap_clipping(self, guard: Guard, patches: Patches) -> None:
        original, measure = BaseOptimizer._clip_gradients, guard(self._measure)

        @functools.wraps(original)
        def clip_gradients(optimizer: Any, grads: Any) -> Any:
            clipped = original(optimizer, grads)
            measure(optimizer, grads, clipped)
            return clipped

        patches.replace(BaseOptimizer, "_clip_gradients", clip_gradients)

    def _wrap_scaling(self, guard: Guard, patches: Patches) -> None:
        """A loss that is scaled before its backward pass."""
        note = guard(self._note_scaled)

        def wrap(original: Any) -> Any:
            @functools.wraps(original)
            def scale_loss(optimizer: Any, loss: Any) -> Any:
                scaled = original(optimizer, loss)
                note(optimizer, loss, scaled)
                return scaled

            return scale_loss

        for owner in (BaseOptimizer, LossScaleOptimizer):
            patches.replace(owner, "scale_loss", wrap(owner.scale_loss))

    def _note_scaled(self, optimizer: Any, loss: Any, scaled: Any) -> None:
        if not isinstance(scaled, torch.Tensor):
            return
        if scaled is not loss:
            self._scales = True
            self._watch.note_scaled(scaled, _scale_of(optimizer))
        elif self._scales:  # another optimizer did
            self._watch.note_scaled(scaled, 1.0)

    def _measure(self, optimizer: Any, grads: Any, clipped: Any) -> None:
        """A step is about to be taken with `clipped`, which was `grads`."""
        if self._stepping is not None or len(grads) != len(self._variables):
            return
        stepper = self._stepper(optimizer, self._variables)
        self._put(stepper, grads)
        if clipped is not None and clipped is not grads:
            factor = _factor(optimizer, grads) if not self._watch.is_sampling else None
            self._watch.note_clip(stepper.parameters, factor)
            if factor is None:
                self._put(stepper, clipped)
        stepper.param_groups[0]["lr"] = _rate(optimizer)
        self._stepping = stepper
        self._watch.before_step(stepper)

    def _withheld(self, optimizer: Any, grads: list[Any]) -> None:
        core = core_of(optimizer)
        stepper = self._stepper(core, self._variables)
        self._put(stepper, [g for g in grads if g is not None])
        stepper.param_groups[0]["lr"] = _rate(core)
        stepper.grad_scale = self._watch.loss_scale
        self._watch.step_withheld(stepper)
        stepper.grad_scale = None

    def _stepper(self, optimizer: Any, variables: list[Any]) -> Stepper:
        stepper = self._steppers.get(optimizer)
        if stepper is None:
            stepper = self._steppers[optimizer] = Stepper(optimizer, optimizer._trainable_variables or variables)
            stepper.param_groups[0]["lr"] = _rate(optimizer)
            self._reader.name(roots_of(stepper.variables, keras.Layer))
        return stepper

    def _put(self, stepper: Stepper, grads: Any) -> None:
        """Have the gradients at their parameters for as long as they are read."""
        given = {id(v): g for v, g in zip(self._variables, grads, strict=True)}
        for variable, parameter in zip(stepper.variables, stepper.parameters, strict=True):
            gradient, there = given.get(id(variable)), parameter.grad
            if gradient is there:
                continue
            if not any(parameter is p for p, _ in self._put_by):
                self._put_by.append((parameter, there))
            if gradient is not None and gradient.shape != parameter.shape:
                gradient = None
            parameter.grad = None if gradient is None else gradient.detach().to(parameter.dtype)


def _with_units_first(tables: frozenset[int], parameter: torch.Tensor) -> torch.Tensor:
    """Units are on the last axis of Keras' kernels."""
    return parameter if id(parameter) in tables or parameter.dim() < 2 else parameter.movedim(-1, 0)


def _applies_by_itself(optimizer: Any) -> bool:
    """Its class has an `apply` of its own, which need not clip."""
    return next(owner for owner in type(optimizer).__mro__ if "apply" in vars(owner)) is not BaseOptimizer


def _scale_of(optimizer: Any) -> Any:
    scale = getattr(optimizer, "dynamic_scale", None)
    if scale is not None:
        return _number(scale.value)
    return float(getattr(optimizer, "initial_scale", None) or optimizer.loss_scale_factor)


def _number(tensor: torch.Tensor) -> float | torch.Tensor:
    """Its value; on a device a copy, which need not be waited for."""
    return tensor.item() if tensor.is_cpu else tensor.detach().clone()


def _rate(optimizer: Any) -> Any:
    rate = optimizer._learning_rate
    if isinstance(rate, LearningRateSchedule):
        rate = rate(optimizer._iterations)
    elif callable(rate):
        return math.nan
    value = getattr(rate, "value", rate)
    if not isinstance(value, torch.Tensor):
        return float(value)
    return _number(value)


def _factor(optimizer: Any, grads: Any) -> float | None:
    """What a clip by the global norm multiplies every gradient by; None for other clips, and where it would have to be
    waited for."""
    limit = optimizer.global_clipnorm
    if optimizer.clipnorm or not limit or not grads[0].is_cpu:
        return None
    total = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(grads)))))
    return limit / max(total, limit) if math.isfinite(total) else None
