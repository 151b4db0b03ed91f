"""`jax.value_and_grad` and `jax.grad`: the loss, and what is recorded while it is computed.

The function that is differentiated has a trace of its own; what is recorded in it leaves as auxiliary output.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from .._guard import Guard
from ._scope import Harvest, Record, enter, innermost, is_any, leave
from ._trace import current, is_outside
from ._tracing import JaxTracing


class Losses:
    """Losses that were differentiated and belong to the step to come: on the host, and in a trace that has no way out
    but a callback's, whose order is not certain."""

    def __init__(self, tracing: JaxTracing) -> None:
        self.tracing = tracing
        self._arrived: list[float] = []
        self._traced = threading.local()

    def follow(self, guard: Guard) -> None:
        """Forget what another session has left."""
        self._arrived.clear()
        self.note = guard(self._note)
        self.hand_on = guard(self._hand_on)

    def _hand_on(self, records: Sequence[Record]) -> None:
        """Put what was recorded in the trace of a function that was differentiated, where the call of it stands."""
        for record in records:
            self.tracing.put(record.receive, record.arrays, ends_step=record.ends_step)

    def _note(self, loss: Any) -> None:
        """A loss that was differentiated."""
        if jnp.ndim(loss) or not jnp.issubdtype(jnp.result_type(loss), jnp.floating):
            return
        if innermost() is not None or is_outside():
            self.tracing.put(self._receive, self.tracing.apart([loss])[0], ends_step=False)
        else:
            self._traced.last = (current(), loss)

    def take(self) -> list[float]:
        """Those that have arrived on the host since the last call; to be asked when a step has arrived."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def traced(self) -> Any:
        """The last one, if it was noted in the trace that is under way, which is no scope; else None."""
        trace, loss = getattr(self._traced, "last", (None, None))
        self._traced.last = (None, None)
        return loss if trace is not None and trace == current() else None

    def _receive(self, loss: Any) -> None:
        self._arrived.append(float(loss))


def watched_value_and_grad(value_and_grad: Callable[..., Any], losses: Losses) -> Callable[..., Any]:
    """`jax.value_and_grad`, whose value is the loss of the step to come."""

    def wrap(plain: Any, carrying: _Carrying) -> Any:
        @functools.wraps(plain)
        def value_and_grad_f(*args: Any, **kwargs: Any) -> Any:
            if is_worth_carrying():
                value, aux, gradient = carrying(args, kwargs)
                return ((value, aux) if carrying.has_aux else value), gradient
            result = plain(*args, **kwargs)
            if innermost() is None:
                losses.note(result[0][0] if carrying.has_aux else result[0])
            return result

        return value_and_grad_f

    return _watched(value_and_grad, value_and_grad, losses, wrap)


def watched_grad(grad: Callable[..., Any], value_and_grad: Callable[..., Any], losses: Losses) -> Callable[..., Any]:
    """`jax.grad`, which is `value_and_grad` without the value."""

    def wrap(plain: Any, carrying: _Carrying) -> Any:
        @functools.wraps(plain)
        def grad_f(*args: Any, **kwargs: Any) -> Any:
            if not is_worth_carrying():
                return plain(*args, **kwargs)
            _, aux, gradient = carrying(args, kwargs)
            return (gradient, aux) if carrying.has_aux else gradient

        return grad_f

    return _watched(grad, value_and_grad, losses, wrap)


def is_worth_carrying() -> bool:
    """Records have a way out of the trace in which it is differentiated, and it is not itself differentiated."""
    scope = innermost()
    if scope is None:
        return is_outside() and not is_any()
    return not scope.differentiated


def _watched(
    original: Callable[..., Any],
    value_and_grad: Callable[..., Any],
    losses: Losses,
    wrap: Callable[[Any, _Carrying], Any],
) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def watching(*args: Any, **options: Any) -> Any:
        plain = original(*args, **options)
        return wrap(plain, _Carrying(value_and_grad, signature.bind(*args, **options).arguments, losses))

    return watching


class _Carrying:
    """Value, auxiliary output and gradient of a function, its records put where the call stands."""

    def __init__(self, value_and_grad: Callable[..., Any], options: dict[str, Any], losses: Losses) -> None:
        options = dict(options)
        fun = options.pop("fun")
        self.has_aux = bool(options.pop("has_aux", False))
        self._losses = losses

        @functools.wraps(fun)
        def carry(*args: Any, **kwargs: Any) -> Any:
            scope = enter(losses.tracing.flag_around(), differentiated=True)
            try:
                out = fun(*args, **kwargs)
            finally:
                leave(scope)
            if not self.has_aux:
                return out, (None, Harvest(None, scope.records))
            if not isinstance(out, tuple) or len(out) != 2:
                return out  # JAX says what is wrong with it
            return out[0], (out[1], Harvest(None, scope.records))

        self._differentiated = value_and_grad(carry, has_aux=True, **options)

    def __call__(self, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
        (value, (aux, harvest)), gradient = self._differentiated(*args, **kwargs)
        self._losses.hand_on(harvest.records)
        self._losses.note(value)
        return value, aux, gradient
