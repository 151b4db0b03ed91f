"""Traces that hand out what is measured inside them, innermost last, and what each has gathered."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from ._trace import current


class Record(NamedTuple):
    """Arrays, and who gets them on the host, whose attribute `optimizer` tells it from others.

    `ends_step`: with them an optimizer's step is complete. `time` is that of its arrival on the host.
    """

    receive: Callable[[Any], None]
    arrays: Any
    ends_step: bool
    time: float = math.nan


@dataclass(eq=False)
class Scope:
    """One trace, that of a jitted function or of one that is differentiated; its records leave it as outputs.

    `flag` is true at a sampled step. It may be used in this very trace only: JAX keeps the traces of functions inside
    of it (bodies of scans, branches) and uses them again elsewhere. `inputs` are the leaves of the arguments of the
    outermost function; `at_end` is called with those of what it returns. `carry`: what came in of `Carry`, None where
    nothing can; `carried` goes out.
    """

    trace: Any
    flag: Any
    differentiated: bool
    inputs: list[Any]
    carry: Mapping[int, Any] | None = None
    carried: dict[int, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    at_end: list[Callable[[list[Any]], None]] = field(default_factory=list)


class _Stack(threading.local):
    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.entered = 0


_STACK = _Stack()


def is_any() -> bool:
    return bool(_STACK.scopes)


def entered() -> int:
    """How many scopes this thread has entered: more, where a function has been traced meanwhile."""
    return _STACK.entered


def innermost() -> Scope | None:
    """The innermost scope, if its trace is under way now."""
    scopes = _STACK.scopes
    return scopes[-1] if scopes and scopes[-1].trace == current() else None


def is_differentiating() -> bool:
    """Something is being differentiated, at whatever depth."""
    return any(scope.differentiated for scope in _STACK.scopes)


def enclosing() -> Scope | None:
    """The innermost scope, whichever trace is under way."""
    return _STACK.scopes[-1] if _STACK.scopes else None


def enter(
    flag: Any, arguments: Any = (), *, differentiated: bool = False, carry: Mapping[int, Any] | None = None
) -> Scope:
    """Begin a scope for the trace that is under way now; `leave` ends it."""
    inputs = [] if _STACK.scopes else jax.tree_util.tree_leaves(arguments)
    scope = Scope(current(), flag, differentiated, inputs, carry)
    _STACK.scopes.append(scope)
    _STACK.entered += 1
    return scope


def leave(scope: Scope) -> None:
    _STACK.scopes.remove(scope)


class Harvest:
    """A function's own output, the records of its trace, and what it has carried: a pytree."""

    __slots__ = ("carried", "out", "records")

    def __init__(self, out: Any, records: list[Record], carried: dict[int, Any] | None = None) -> None:
        self.out = out
        self.records = records
        self.carried = carried or {}


def _flatten(harvest: Harvest) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    whither = tuple((record.receive, record.ends_step) for record in harvest.records)
    return (harvest.out, [record.arrays for record in harvest.records], harvest.carried), whither


def _unflatten(whither: tuple[Any, ...], children: tuple[Any, ...]) -> Harvest:
    out, arrays, carried = children
    if not isinstance(arrays, list):  # JAX looks at the structure alone
        return Harvest(out, [])
    records = [Record(to, each, ends) for (to, ends), each in zip(whither, arrays, strict=True)]
    return Harvest(out, records, carried)


jax.tree_util.register_pytree_node(Harvest, _flatten, _unflatten)
