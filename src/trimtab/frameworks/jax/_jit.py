"""`jax.jit`, whose functions hand out what was measured in their traces; all others stay as they are.

A jitted function gets one more argument, the flag of sampled steps, and where its trace has records, more outputs.
Where it has none the flag is an argument that nothing uses, which JAX drops, and the program is the same. Beside the
flag goes what its trace carries from step to step, once that is known.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, ref

import jax
import numpy as np

from ._scope import Harvest, enter, innermost, is_any, leave
from ._trace import is_outside
from ._windows import Windows

SAMPLED, NOT_SAMPLED = np.True_, np.False_


def watched_jit(jit: Callable[..., Any], windows: Windows) -> Callable[..., Any]:
    """`jit`, every function of which is a `WatchedJit`."""

    @functools.wraps(jit)
    def watching(*functions: Any, **options: Any) -> Any:
        plain = jit(*functions, **options)
        if not functions:
            return functools.partial(watching, **options)
        return WatchedJit(jit, plain, functions[0], options, windows)

    return watching


class WatchedJit:
    """Looks and behaves like what `jax.jit` returns.

    It holds two of these: `_plain` is the function's own, for all that is not a call (`lower`, `trace`, pickling);
    `_jitted` hands out records.
    """

    def __init__(
        self, jit: Callable[..., Any], plain: Any, function: Any, options: dict[str, Any], windows: Windows
    ) -> None:
        functools.update_wrapper(self, plain)
        self.__wrapped__ = function
        self._plain = plain
        self._windows = windows
        self._flagged = _takes_flag(options)
        self._beside = options.get("out_shardings") is not None
        harvesting = _harvesting(function, self._flagged, self._beside)
        self._function = harvesting.__wrapped__  # which holds it weakly
        self._jitted = jit(harvesting, **_shifted(options, self._flagged))
        self._carries: tuple[int, ...] = ()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._plain)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._windows.is_sampled or is_any():
            return self._call_with_care(args, kwargs)
        return self._received(self._run(NOT_SAMPLED, args, kwargs))

    def _call_with_care(self, args: Any, kwargs: Any) -> Any:
        """At a sampled step, or inside of a trace."""
        scope = innermost()
        if scope is None and is_outside():
            return self._run_sampled(args, kwargs)
        flag = NOT_SAMPLED if scope is None else scope.flag
        return self._received(self._run(flag, args, kwargs))

    def _run_sampled(self, args: Any, kwargs: Any) -> Any:
        """At a sampled step what is traced now is run later: so it is known which arguments to look at."""
        windows = self._windows
        windows.look_at(args, kwargs, lambda: self._shapes(args, kwargs))
        out = windows.timed(lambda: self._run(SAMPLED, args, kwargs))
        try:
            return self._received(out)
        finally:
            windows.look_away()

    def _shapes(self, args: Any, kwargs: Any) -> Any:
        """What a call at a sampled step would return; from here on it is known what the function carries."""
        out = self._run(SAMPLED, args, kwargs, self._jitted.eval_shape)
        if type(out) is Harvest and out.carried:
            self._carries = tuple(out.carried)
        return out

    def _run(self, flag: Any, args: Any, kwargs: Any, how: Callable[..., Any] | None = None) -> Any:
        run = how or self._jitted
        first = (flag, self._windows.carry.given(self._carries)) if self._carries else flag
        out = run(first, *args, **kwargs) if self._flagged else run(*args, **kwargs)
        if not self._beside:
            return out
        own, harvest = out
        return Harvest(own, harvest.records, harvest.carried)

    def _received(self, out: Any) -> Any:
        if type(out) is not Harvest:
            return out
        if out.carried:
            self._carries = tuple(out.carried)
            self._windows.carry.returned(out.carried)
        if out.records:
            self._windows.received(out.records)
        return out.out

    def clear_cache(self) -> None:
        self._plain.clear_cache()
        self._jitted.clear_cache()

    def _cache_size(self) -> int:
        return int(self._jitted._cache_size())

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name == "_plain":  # not yet made
            raise AttributeError(name)
        return getattr(self._plain, name)

    def __repr__(self) -> str:
        return repr(self._plain)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._plain.__reduce_ex__(protocol)


class Harvesting:
    """A function as JAX is to trace it: it takes the flag first, and returns the records of its trace.

    JAX keeps what it has traced and compiled by the function's identity and for as long as it lives; so there is one
    of these for each function, for as long as that lives.
    """

    def __init__(self, function: Any, flagged: bool, beside: bool) -> None:
        self._function = _reference(function)
        self._flagged = flagged
        self._beside = beside
        for name in ("__name__", "__qualname__", "__module__", "__doc__"):
            if hasattr(function, name):
                setattr(self, name, getattr(function, name))
        if (signature := _signature(function, flagged)) is not None:
            self.__signature__ = signature

    @property
    def __wrapped__(self) -> Any:
        """JAX names it in its messages."""
        return self._function()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        first, args = (args[0], args[1:]) if self._flagged else (NOT_SAMPLED, args)
        flag, carry = first if isinstance(first, tuple) else (first, {})
        scope = enter(flag, (args, kwargs), carry=carry if self._flagged else None)
        try:
            out = self._function()(*args, **kwargs)
        finally:
            leave(scope)
        for callback in scope.at_end:
            callback(jax.tree_util.tree_leaves(out))
        if self._beside:
            return out, Harvest(None, scope.records, scope.carried)
        return Harvest(out, scope.records, scope.carried) if scope.records or scope.carried else out


_KNOWN: dict[tuple[bool, bool], WeakKeyDictionary[Any, Harvesting]] = {}


def _harvesting(function: Any, flagged: bool, beside: bool) -> Harvesting:
    known = _KNOWN.setdefault((flagged, beside), WeakKeyDictionary())
    try:
        found = known.get(function)
        if found is None:
            found = known[function] = Harvesting(function, flagged, beside)
    except TypeError:  # neither hashable nor to be referred to
        return Harvesting(function, flagged, beside)
    return found


def _reference(function: Any) -> Callable[[], Any]:
    try:
        return ref(function)
    except TypeError:
        return lambda: function


def _signature(function: Any, flagged: bool) -> inspect.Signature | None:
    """By which JAX finds the places of named arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    flag = [inspect.Parameter("trimtab_flag", inspect.Parameter.POSITIONAL_ONLY)] if flagged else []
    return signature.replace(parameters=[*flag, *signature.parameters.values()])


def _takes_flag(options: dict[str, Any]) -> bool:
    """One sharding for all arguments, however many, leaves no place to say another for the flag."""
    given = options.get("in_shardings")
    return "in_shardings" not in options or given is None or isinstance(given, (tuple, list))


def _shifted(options: dict[str, Any], flagged: bool) -> dict[str, Any]:
    """The options for the function with the flag before its arguments and the records behind its output."""
    shifted = dict(options)
    if flagged:
        for name in ("static_argnums", "donate_argnums"):
            if options.get(name) is not None:
                numbers = options[name]
                numbers = (numbers,) if isinstance(numbers, int) else numbers
                shifted[name] = tuple(number + 1 if number >= 0 else number for number in numbers)
        if isinstance(options.get("in_shardings"), (tuple, list)):
            shifted["in_shardings"] = (None, *options["in_shardings"])
    if options.get("out_shardings") is not None:
        shifted["out_shardings"] = (options["out_shardings"], None)
    return shifted
