"""What guards the updates of an unchanged script: the policies of `trimtab run --with`, around every optimizer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp

from ...policies import NUMPY, Decision, Policy, compose, guarding, refuse_on_host
from .._guarding import UNGUARDED, say_less, say_unguarded
from ..jax._scope import innermost
from ..jax._tracing import JaxTracing
from ..jax._xp import JAX
from ._pieces import is_optimizer, pieces_of
from ._policed import acts, beside, decide, left_out

NO_PLACE = "{policies}: no memory of earlier steps inside a loop, a branch or vmap of JAX"
PART_OF_GUARD = "a policy"
GATHERED = "MultiSteps gathers the gradients of several updates"


@dataclass
class Guarded:
    """One update under policies: `gradients` are those that the optimizer gets, `norms` were there before.

    `acts`: float32: whether each policy skips, then the least factor of each. `changes`: a policy may change gradients.
    """

    gradients: Any
    norms: Any
    skip: Any
    acts: Any
    changes: bool


NOT_FINISHED: tuple[list[Any], Any, Any] = ([], None, None)


class _Finished(threading.local):
    """Of this thread's last guarded update: the updates that the script got, leaf by leaf, the optimizer's own, and
    whether the step is left out."""

    updates = NOT_FINISHED


class Guards:
    """Memory lives beside the script's own state: the k-th training that begins has number k."""

    def __init__(self, policies: Sequence[str], tracing: JaxTracing, say_unseen: Callable[[str, str], None]) -> None:
        self._tracing = tracing
        self._say_unseen = say_unseen
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._last = 0
        self._said = self._said_less = False
        self._finished = _Finished()
        self._policy: Policy | None = None
        try:
            self._policy = guarding(policies) if policies else None
            if self._policy is not None:
                refuse_on_host(self._policy, "optax")
        except Exception as error:
            self._give_up(str(error))

    @property
    def policies(self) -> tuple[str, ...]:
        """What acts, in order; nothing where nothing does."""
        return () if self._policy is None else tuple(part.text for part in self._policy.parts)

    def begun(self, function: Any, params: Any) -> None:
        """The script asks `function` for a first state: what is remembered of its steps begins anew."""
        if self._policy is not None:
            number = self._number_of(function, new=True)
            start = self._policy.start(len(jax.tree_util.tree_leaves(params)), NUMPY)
            if _remembers(start) and self._tracing.carry.has_place():
                self._tracing.carry.put(number, start)

    def decide(self, function: Any, gradients: Any, params: Any) -> Guarded | None:
        """None where no policy acts: nothing is to be guarded, or it cannot be, which is said once."""
        if self._policy is None:
            return None
        pieces = pieces_of(function)
        if not is_optimizer(pieces) or any(piece.name == "guard" for piece in pieces):  # it has policies of its own
            return None
        try:
            return self._decide(self._policy, function, gradients, params)
        except Exception as error:
            self._give_up(f"{type(error).__name__}: {error}")
            return None

    def finish(self, guarded: Guarded, state: Any, result: Any) -> Any:
        """The updates and the state after it: of a step left out, none and the old one."""
        try:
            updates, new_state = result
            finished = left_out(guarded.skip, updates), _chosen(guarded.skip, state, new_state)
            self._finished.updates = jax.tree_util.tree_leaves(finished[0]), updates, guarded.skip
            if (scope := innermost()) is not None:
                scope.at_end.append(lambda _: self._forget())
            return finished
        except Exception as error:
            self._give_up(f"{type(error).__name__}: {error}")
            return result

    def apply(self, original: Callable[[Any, Any], Any], params: Any, updates: Any) -> Any:
        """`optax.apply_updates`. Of the last update the new weights are chosen, not the updates: XLA then adds these to
        the weights as it multiplies them, and rounds once, as it does where nothing guards."""
        leaves, own, skip = self._finished.updates
        given = jax.tree_util.tree_leaves(updates)
        if not leaves or len(leaves) != len(given) or any(a is not b for a, b in zip(leaves, given, strict=True)):
            return original(params, updates)
        self._forget()
        new = original(params, own)
        return _chosen(skip, params, new) if _kinds(params) == _kinds(new) else original(params, updates)

    def _forget(self) -> None:
        self._finished.updates = NOT_FINISHED

    def _decide(self, policy: Policy, function: Any, gradients: Any, params: Any) -> Guarded | None:
        if hasattr(function, "_acc_update"):
            self._give_up(GATHERED)
            return None
        leaves, structure = jax.tree_util.tree_flatten(gradients)
        places, policy = self._acting(policy)
        if not places:
            self._give_up(NO_PLACE.format(policies=", ".join(self.policies)))
            return None
        norms = self._tracing.norms(leaves)
        weights = None if params is None else beside(gradients, params)
        number, start = self._number_of(function), policy.start(len(leaves), JAX)
        memory, decision = decide(policy, self._memory(number, start), leaves, norms, weights)
        if _remembers(start):
            self._tracing.carry.put(number, memory)
        did = self._all_acts(places, decision)
        if decision.grads is None:
            return Guarded(gradients, norms, decision.skip, did, changes=False)
        return Guarded(jax.tree_util.tree_unflatten(structure, decision.grads), norms, decision.skip, did, changes=True)

    def _acting(self, policy: Policy) -> tuple[list[int], Policy]:
        """The policies that can act here, and their places among all: where no memory can be, those without."""
        every = list(range(len(policy.parts)))
        if self._tracing.carry.has_place():
            return every, policy
        places = [place for place in every if not _remembers(policy.parts[place].start(1, NUMPY))]
        if 0 < len(places) < len(every):
            left = ", ".join(part.text for place, part in enumerate(policy.parts) if place not in places)
            self._say_less(NO_PLACE.format(policies=left))
        return places, compose(*(policy.parts[place] for place in places)) if places else policy

    def _memory(self, number: int, start: Any) -> Any:
        known = self._tracing.carry.get(number) if _remembers(start) else None
        return known if _kinds(known) == _kinds(start) else start

    def _all_acts(self, places: list[int], decision: Decision) -> Any:
        skipped, factors = acts(decision)
        count = len(self.policies)
        return jnp.concatenate(
            [
                jnp.zeros(count).at[jnp.array(places)].set(skipped.astype(jnp.float32)),
                jnp.ones(count).at[jnp.array(places)].set(factors),
            ]
        )

    def _number_of(self, function: Any, new: bool = False) -> int:
        """Of a transformation that was never asked for a first state, that of the last one that was."""
        if new and function not in self._numbers:
            self._last = self._numbers[function] = self._last + 1
        return self._numbers.get(function, self._last)

    def _say_less(self, why: str) -> None:
        if not self._said_less:
            self._said_less = True
            self._say_unseen(PART_OF_GUARD, f"{why}.")
            say_less(why)

    def _give_up(self, why: str) -> None:
        self._policy = None
        if not self._said:
            self._said = True
            self._say_unseen(UNGUARDED, f"No policy acts: {why}.")
            say_unguarded(why)


def _chosen(skip: Any, old: Any, new: Any) -> Any:
    """`new`, or `old` where the step is skipped: by a branch, of which XLA can't see the inside."""
    return jax.lax.cond(skip, lambda: old, lambda: new)


def _remembers(state: Any) -> bool:
    return bool(jax.tree_util.tree_leaves(state))


def _kinds(tree: Any) -> Any:
    """Structure, shapes and dtypes."""
    leaves, structure = jax.tree_util.tree_flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
