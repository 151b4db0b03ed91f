"""What guards the Keras optimizers of a process: steps are taken with what the policies leave of the gradients."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from keras.src.optimizers.base_optimizer import BaseOptimizer

from ...policies import Policy, PolicyError, guarding
from .._guarding import UNGUARDED, say_unguarded
from .._patches import Patches
from ._given import Given, applies_by_itself
from ._guarding import Decided, Hands, StepGuard
from ._values import unrecorded


class Guards:
    """The policies that every optimizer gets (`trimtab run --with`), and those that one was given (`trimtab.guard`).

    Where one fails, its training goes on without, and stderr says so.
    """

    def __init__(self, policies: Sequence[str], hands: Hands, say_unseen: Callable[[str, str], None]) -> None:
        self._policy = guarding(policies) if policies else None
        self._own: WeakKeyDictionary[Any, Policy] = WeakKeyDictionary()
        self._guards: WeakKeyDictionary[Any, StepGuard | None] = WeakKeyDictionary()
        self._hands = hands
        self._say_unseen = say_unseen
        self._said: set[str] = set()
        self._under_way = threading.local()

    def attach(self, patches: Patches) -> None:
        """See the gradients of every step at the one place where they are whole: before the optimizer's own clip."""
        original = BaseOptimizer._clip_gradients

        @functools.wraps(original)
        def clip_gradients(optimizer: Any, grads: Any) -> Any:
            decided: Decided | None = getattr(self._under_way, "decided", None)
            if decided is not None and decided.given.core is optimizer and not applies_by_itself(optimizer):
                grads = self._changed(decided, list(grads))
            return original(optimizer, grads)

        patches.replace(BaseOptimizer, "_clip_gradients", clip_gradients)
        self._hands.attach(patches, self.of)

    def made(self, optimizer: Any) -> None:
        """An optimizer is being made."""
        self._ours(optimizer, self._hands.made, optimizer)

    def set(self, core: Any, policy: Policy) -> None:
        """Guard this optimizer by `policy`, whatever guards the others; with a new memory, if it was guarded before."""
        self._own[core] = policy
        self._guards.pop(core, None)

    def of(self, core: Any) -> StepGuard | None:
        """What guards an optimizer, which has been built."""
        if core not in self._guards:
            policy = self._own.get(core, self._policy)
            self._guards[core] = None if policy is None else self._ours(core, StepGuard, policy, core, self._hands)
        return self._guards[core]

    def decide(self, given: Given, norms: Any) -> Decided | None:
        """`norms`: of `given.grads`. None where nothing can come of it."""
        guard = self.of(given.core)
        return None if guard is None else self._ours(given.core, guard.decide, given, norms)

    def take(self, decided: Decided, call: Callable[[list[Any]], Any], grads: list[Any]) -> Any:
        """Have `call` take the step with what the policies leave of `grads`, or not at all."""
        if applies_by_itself(decided.given.core):
            grads = self._at_entry(decided, grads)
        inside = False

        def run() -> Any:
            nonlocal inside
            inside = True
            result = call(grads)
            inside = False
            return result

        self._under_way.decided = decided
        try:
            return self._hands.take(decided, run)
        except Exception as error:
            if inside:  # it is the script's own
                raise
            self._give_up(decided.given.core, error)
            return call(grads)
        finally:
            self._under_way.decided = None

    def settle(self, decided: Decided) -> None:
        """The step has been taken, or left out."""
        self._ours(decided.given.core, decided.settle, self._hands)

    def say_unguarded(self, why: str) -> None:
        """Policies were asked for, and do not act: said once for each reason."""
        if why not in self._said:
            self._said.add(why)
            self._say_unseen(UNGUARDED, f"No policy acts: {why}.")
            say_unguarded(why)

    def not_watched(self) -> None:
        """A step is taken where nothing can be seen; in replicas of it, unless it is one that is exported."""
        if self._is_any and self._hands.replicates():
            self.say_unguarded("tf.distribute trains on several replicas")

    @contextlib.contextmanager
    def or_say_unguarded(self) -> Iterator[None]:
        """Where what is done within fails, nothing is guarded any more."""
        try:
            yield
        except Exception as error:
            if self._is_any:
                self.say_unguarded(f"{type(error).__name__}: {error}")
            raise

    def left_of(self, grads: list[Any], unscale: Any, decided: Decided | None) -> list[Any]:
        """What the policies leave of a step's gradients, which hold the factor `unscale`."""
        return grads if decided is None else self._changed(decided, grads, unscale)

    @property
    def _is_any(self) -> bool:
        return self._policy is not None or bool(self._own)

    def _changed(self, decided: Decided, grads: list[Any], unscale: Any = None) -> list[Any]:
        with unrecorded():
            changed = self._ours(decided.given.core, decided.on, self._hands, grads, unscale)
        return grads if changed is None else changed

    def _at_entry(self, decided: Decided, grads: list[Any]) -> list[Any]:
        """The same for an optimizer whose class may never clip: the gradients that it is given, some of which are none
        of a weight."""
        held = decided.given.grads
        changed = iter(self._changed(decided, held, decided.given.scale))
        ids = {id(g) for g in held}
        return [next(changed) if id(g) in ids else g for g in grads]

    def _ours(self, core: Any, act: Callable[..., Any], *args: Any) -> Any:
        """`act(*args)`; None, and no guard any more, where it fails."""
        try:
            return act(*args)
        except Exception as error:
            self._give_up(core, error)
            return None

    def _give_up(self, core: Any, error: Exception) -> None:
        self._guards[core] = None
        self.say_unguarded(str(error) if isinstance(error, PolicyError) else f"{type(error).__name__}: {error}")


def hands_of(backend: str) -> Hands:
    """What acts on the steps of Keras' backend `backend`."""
    if backend == "tensorflow":
        from ._hands_tensorflow import TensorFlowHands

        return TensorFlowHands()
    from ._hands_jax import JaxHands

    return JaxHands()
