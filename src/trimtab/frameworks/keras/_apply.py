"""Where Keras' optimizers take their steps: every way to `apply`, the outermost call of which is the step."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, Protocol

import keras
from keras.src import backend
from keras.src.optimizers.base_optimizer import BaseOptimizer

from .._guard import Guard
from .._patches import Patches

Apply = Callable[..., Any]


class Steps(Protocol):
    """Who is told of steps."""

    def made(self, optimizer: Any) -> None:
        """It has been made."""

    def before(self, optimizer: Any, grads: list[Any], variables: list[Any] | None) -> Any:
        """A step of `optimizer` begins. What is returned goes to `after`, unless it is None."""

    def take(self, step: Any, call: Callable[[list[Any]], Any], grads: list[Any]) -> Any:
        """Have `call` take it with `grads`, or with what a guard leaves of them."""

    def settle(self, step: Any) -> None:
        """It has been taken: put back what a step that is to be left out has changed."""

    def after(self, step: Any) -> None:
        """It is over."""


class ApplyHook:
    """Wraps `apply` of the base class, of the loss scaler, and of classes of others that do it in their own way.

    A `MultiOptimizer` only hands on: the optimizers in it are the ones that step.
    """

    def __init__(self, guard: Guard, patches: Patches, steps: Steps) -> None:
        self._patches = patches
        self._before = guard(steps.before)
        self._take, self._settle = steps.take, steps.settle
        self._after = guard(steps.after)
        self._made = guard(steps.made)
        self._wrap_own = guard(self._wrap_own_apply)
        self._under_way = threading.local()
        self._wrapped: set[type] = {keras.optimizers.MultiOptimizer}

    def attach(self) -> None:
        scaler = keras.optimizers.LossScaleOptimizer
        for owner in (BaseOptimizer, scaler):
            self._replace_apply(owner)
        if backend.backend() == "jax":
            self._patches.replace(scaler, "stateless_apply", self._stateless(scaler.stateless_apply))
        self._wrap_construction()

    def _replace_apply(self, owner: type) -> None:
        self._wrapped.add(owner)
        self._patches.replace(owner, "apply", self._stateful(vars(owner)["apply"]))

    def _wrap_construction(self) -> None:
        """A class that has an `apply` of its own is wrapped when the first of it is made."""
        original, wrap_own, made = BaseOptimizer.__init__, self._wrap_own, self._made

        @functools.wraps(original)
        def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            wrap_own(type(optimizer))
            made(optimizer)

        self._patches.replace(BaseOptimizer, "__init__", init)

    def _wrap_own_apply(self, kind: type) -> None:
        for owner in kind.__mro__:
            if "apply" in vars(owner) and owner not in self._wrapped:
                self._replace_apply(owner)

    def _stateful(self, original: Apply) -> Apply:
        @functools.wraps(original)
        def apply(optimizer: Any, grads: Any, trainable_variables: Any = None, *args: Any, **kwargs: Any) -> Any:
            if getattr(self._under_way, "depth", 0):
                return original(optimizer, grads, trainable_variables, *args, **kwargs)
            grads = list(grads)
            if trainable_variables is not None:
                trainable_variables = list(trainable_variables)
            step = self._before(optimizer, grads, trainable_variables) if grads else None
            if step is None:
                return self._call(original, optimizer, grads, trainable_variables, *args, **kwargs)

            def call(left: list[Any]) -> Any:
                return self._call(original, optimizer, left, trainable_variables, *args, **kwargs)

            result = self._take(step, call, grads)
            self._settle(step)
            self._after(step)
            return result

        return apply

    def _stateless(self, original: Apply) -> Apply:
        """Of the loss scaler, whose inner optimizer is applied in a branch of its own: what is in it cannot leave."""

        @functools.wraps(original)
        def stateless_apply(optimizer: Any, state: Any, grads: Any, trainable: Any) -> Any:
            if getattr(self._under_way, "depth", 0) or not optimizer.built:
                return original(optimizer, state, grads, trainable)
            with _scope(optimizer, state, trainable):
                step = self._before(optimizer, list(grads), list(optimizer._trainable_variables))
            if step is None:
                return self._call(original, optimizer, state, grads, trainable)

            def call(left: list[Any]) -> Any:
                return self._call(original, optimizer, state, left, trainable)

            new_trainable, new_state = self._take(step, call, list(grads))
            with _scope(optimizer, new_state, new_trainable) as scope:
                self._settle(step)
                self._after(step)
            return _values(scope, optimizer._trainable_variables), _values(scope, optimizer.variables)

        return stateless_apply

    def _call(self, original: Apply, *args: Any, **kwargs: Any) -> Any:
        self._under_way.depth = 1
        try:
            return original(*args, **kwargs)
        finally:
            self._under_way.depth = 0


def core_of(optimizer: Any) -> Any:
    """The optimizer itself, without a loss scaler around it."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def _values(scope: Any, variables: list[Any]) -> list[Any]:
    return [scope.get_current_value(variable) for variable in variables]


def _scope(optimizer: Any, state: Any, trainable: Any) -> Any:
    variables = [*optimizer._trainable_variables, *optimizer.variables]
    return backend.StatelessScope(state_mapping=list(zip(variables, [*trainable, *state], strict=False)))
