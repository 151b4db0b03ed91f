"""Steps that are given a closure, which evaluates the loss and its gradients within the step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Closure = Callable[[], Any]


def closure_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Closure | None:
    """The closure among the arguments of a step, of which the first is the optimizer."""
    closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
    return closure if callable(closure) else None


def with_closure(
    args: tuple[Any, ...], kwargs: dict[str, Any], closure: Closure
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments with another closure."""
    if "closure" in kwargs:
        return args, kwargs | {"closure": closure}
    return (args[0], closure, *args[2:]), kwargs


def followed(closure: Closure, after: Callable[..., None], *args: Any) -> Closure:
    """`closure`, each evaluation of which is followed by `after(*args)`."""

    @functools.wraps(closure)
    def evaluate() -> Any:
        result = closure()
        after(*args)
        return result

    return evaluate
