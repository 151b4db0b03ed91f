"""Every outermost call of an update function of optax."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax
from optax._src import base

from .._guard import Guard
from .._patches import Patches
from ..jax._trace import current
from ._guards import Guarded, Guards
from ._pieces import CLIPS, owner

# Functions that a script may ask for again: a jitted one is compiled anew for every other object.
MOST_KEPT = 256


class Call(NamedTuple):
    """An update: what went in, and what came out; what the policies did to it, None where they did not see it.

    `function` is the transformation's own, or its `MultiSteps`. `clips` change the gradients before anything else of
    the chain does: pairs of an update function and its state.
    """

    function: Any
    gradients: Any
    state: Any
    parameters: Any
    extra: dict[str, Any]
    clips: list[tuple[Any, Any]]
    updates: Any
    new_state: Any
    guarded: Guarded | None = None


class _UnderWay(threading.local):
    """The outermost update that this thread is in, and its gradients on their way through the clips."""

    depth = 0
    trace: Any = None
    leaves: Sequence[Any] = ()
    clips: tuple[tuple[Any, Any], ...] = ()


class Updates:
    """Calls `seen` after every outermost update, `begun` when a script asks a transformation for its first state, with
    the parameters."""

    def __init__(
        self, guard: Guard, seen: Callable[[Call], None], begun: Callable[[Any, Any], None], guards: Guards
    ) -> None:
        self._guards = guards
        self._seen = guard(seen)
        self._begun = guard(begun)
        self._note_clip = guard(self._note_clip)  # type: ignore[method-assign]
        self._now = _UnderWay()
        self._kept: OrderedDict[tuple[int, str], tuple[Any, Any]] = OrderedDict()

    def attach(self, patches: Patches) -> None:
        kind = base.GradientTransformation
        patches.replace(kind, "update", property(lambda tx: self._same(tx[1], "update", self._watched)))
        patches.replace(kind, "init", property(lambda tx: self._same(tx[0], "init", self._watched_init(tx[1]))))
        patches.replace(optax.MultiSteps, "update", self._watched_method(optax.MultiSteps.update))
        patches.replace(optax.MultiSteps, "init", self._watched_first(optax.MultiSteps.init))
        for name in CLIPS:
            clip = self._watched_clip(getattr(optax, name))
            for home in (optax, optax.transforms):
                if hasattr(home, name):
                    patches.replace(home, name, clip)

    def _same(self, function: Any, what: str, wrap: Callable[[Any], Any]) -> Any:
        """The wrapper of `function`, the same one for the same function; inside of an update the function itself."""
        if self._now.depth:
            return function
        key = (id(function), what)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = function, wrap(function)
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found[1]

    def _watched(self, update: Any) -> Any:
        @functools.wraps(update)
        def watching(*args: Any, **kwargs: Any) -> Any:
            return self._run(update, update, args, kwargs)

        return watching

    def _watched_method(self, update: Any) -> Any:
        @functools.wraps(update)
        def watching(steps: Any, *args: Any, **kwargs: Any) -> Any:
            bound = functools.partial(update, steps)
            return self._run(steps, bound, args, kwargs)

        return watching

    def _watched_init(self, update: Any) -> Callable[[Any], Any]:
        def wrap(init: Any) -> Any:
            @functools.wraps(init)
            def watching(*args: Any, **kwargs: Any) -> Any:
                self._begun(owner(update), *args, **kwargs)
                return init(*args, **kwargs)

            return watching

        return wrap

    def _watched_first(self, init: Any) -> Any:
        @functools.wraps(init)
        def watching(steps: Any, params: Any) -> Any:
            self._begun(steps, params)
            return init(steps, params)

        return watching

    def _run(self, function: Any, update: Any, args: Any, kwargs: Any) -> Any:
        now = self._now
        if now.depth:
            return update(*args, **kwargs)
        gradients, state, parameters, extra = _given(*args, **kwargs)
        guarded = self._guards.decide(owner(function), gradients, parameters)
        if guarded is not None and guarded.changes:
            args, kwargs = _with_gradients(guarded.gradients, args, kwargs)
        given = gradients if guarded is None else guarded.gradients
        now.depth, now.trace, now.leaves = 1, current(), jax.tree_util.tree_leaves(given)
        try:
            result = update(*args, **kwargs)
            clips: list[tuple[Any, Any]] = list(now.clips)
        finally:
            now.depth, now.trace, now.leaves, now.clips = 0, None, (), ()
        if isinstance(result, tuple) and len(result) == 2:
            if guarded is not None:
                result = self._guards.finish(guarded, state, result)
            updates, new_state = result
            self._seen(Call(owner(function), gradients, state, parameters, extra, clips, updates, new_state, guarded))
        return result

    def _watched_clip(self, make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def watching(*args: Any, **kwargs: Any) -> Any:
            made = make(*args, **kwargs)
            update = made[1]

            @functools.wraps(update)
            def clip(updates: Any, state: Any = None, params: Any = None, **extra: Any) -> Any:
                result = update(updates, state, params, **extra)
                if self._now.depth:
                    self._note_clip((update, state), updates, result[0])
                return result

            return made._replace(update=clip)

        return watching

    def _note_clip(self, clip: tuple[Any, Any], given: Any, clipped: Any) -> None:
        """Taken for a clip of the gradients where nothing but clips has changed them before, in this trace."""
        now, leaves = self._now, jax.tree_util.tree_leaves(given)
        if now.trace == current() and len(leaves) == len(now.leaves) and all(map(_is, leaves, now.leaves)):
            now.leaves = jax.tree_util.tree_leaves(clipped)
            now.clips = (*now.clips, clip)


def _given(
    updates: Any = None, state: Any = None, params: Any = None, *rest: Any, **extra: Any
) -> tuple[Any, Any, Any, dict[str, Any]]:
    return updates, state, params, extra


def _with_gradients(gradients: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return ((gradients, *args[1:]), kwargs) if args else (args, {**kwargs, "updates": gradients})


def _is(a: Any, b: Any) -> bool:
    return a is b
