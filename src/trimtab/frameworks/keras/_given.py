"""What a step brings: the gradients that a Keras optimizer is about to apply, but for its own clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import ops
from keras.src.optimizers.base_optimizer import BaseOptimizer

from ._apply import core_of
from ._values import current


@dataclass
class Given:
    """`grads` of `variables`, those accumulated before among them, still with the factor `scale` of a loss scaler.

    `places`: of the variables among all of the optimizer's. `applied`: whether a step is taken with them, or withheld
    by a loss scaler; else they are put by. `scale` and `applied` may be tensors.
    """

    optimizer: Any
    core: Any
    grads: list[Any]
    variables: list[Any]
    scale: Any
    applied: Any

    @property
    def places(self) -> list[int]:
        return [self.core._get_variable_index(v) for v in self.variables]

    @property
    def is_withholding(self) -> bool:
        """A loss scaler takes no step with a gradient that is not finite."""
        return self.optimizer is not self.core


def given_to(optimizer: Any, grads: list[Any], variables: list[Any] | None) -> Given:
    """What `optimizer.apply(grads, variables)` would apply."""
    core = core_of(optimizer)
    pairs = [
        (g, v)
        for g, v in zip(grads, variables or core._trainable_variables, strict=True)
        if g is not None and not getattr(v, "overwrite_with_gradient", False)
    ]
    given, held = [g for g, _ in pairs], [v for _, v in pairs]
    scale = getattr(optimizer, "dynamic_scale", None)
    scale = core.loss_scale_factor if scale is None else current(scale)
    applied: Any = 1.0
    if (every := core.gradient_accumulation_steps) is not None:
        given = [_with_accumulated(core, g, v, every, scale) for g, v in zip(given, held, strict=True)]
        applied = ops.equal((core._iterations + 1) % every, 0)
    return Given(optimizer, core, given, held, 1.0 if scale is None else scale, applied)


def applies_by_itself(optimizer: Any) -> bool:
    """Its class has an `apply` of its own, which need not clip."""
    return next(owner for owner in type(optimizer).__mro__ if "apply" in vars(owner)) is not BaseOptimizer


def _with_accumulated(optimizer: Any, gradient: Any, variable: Any, every: int, scale: Any) -> Any:
    """What the optimizer would apply if this were the last of `every` gradients, still with the factor `scale`."""
    waiting = current(optimizer._accumulated_gradients[optimizer._get_variable_index(variable)])
    if scale is not None:
        waiting = ops.cast(scale, waiting.dtype) * waiting
    return ops.divide(ops.add(ops.convert_to_tensor(gradient), waiting), every)
