"""What guards the optimizers of a watched process, and their steps as the record shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch

from ...policies import Policy, PolicyError, guarding
from .._guarding import UNGUARDED, WHO_IS, Acts, say_unguarded
from ._guarding import Act, Given, StepGuard, gradients_of, layout_of, refuse_senseless
from ._optimizers import StandIn, StepRow, WatchedOptimizer

Optimizer = torch.optim.Optimizer


class Guards:
    """The policies that every optimizer gets (`trimtab run --with`), and those that one was given (`trimtab.guard`)."""

    def __init__(self, policies: Sequence[str], say_unseen: Callable[[str, str], None]) -> None:
        self._policy = guarding(policies) if policies else None
        self._own: WeakKeyDictionary[Optimizer, Policy] = WeakKeyDictionary()
        self._say_unseen = say_unseen

    def set(self, optimizer: Optimizer, policy: Policy) -> None:
        """Guard this optimizer by `policy`, whatever guards the others."""
        self._own[optimizer] = policy

    def give(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        """Have an optimizer guarded from its next step on; with a new memory, if it was guarded before."""
        policy = self._own.get(optimizer, self._policy)
        if policy is None:
            return
        if watched.is_sharded or isinstance(optimizer, StandIn):
            self._say_unguarded(
                "parameters sharded over processes are not guarded yet" if watched.is_sharded else WHO_IS
            )
            return
        try:
            refuse_senseless(policy, optimizer)
        except PolicyError as error:
            self._say_unguarded(str(error))
            return
        roots = [root for r in watched.naming.roots if (root := r()) is not None]
        watched.guard = StepGuard(policy, optimizer, layout_of(optimizer, roots), roots=watched.naming.roots)

    def begin(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        """A step begins."""
        if watched.guard is not None:
            watched.guard.begin(optimizer)

    def act(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        """Let the policies act on the pending step. Where that fails, the training goes on without them."""
        if watched.guard is None or watched.pending is None:
            return
        try:
            _act(watched, watched.guard, optimizer, watched.pending)
        except Exception as error:
            self._give_up(watched, watched.guard, optimizer, error)

    def act_quickly(self, watched: WatchedOptimizer, optimizer: Optimizer) -> bool:
        """The same on a quick step, whose row is in the block already; True where `restore` must follow the step."""
        guard = watched.guard
        if guard is None:
            return False
        try:
            guard.begin(optimizer)
            norms = watched.newest_norms()
            if guard.lets_pass(norms):
                return guard.is_holding
            parameters, grads, present = gradients_of(optimizer)
            act = guard.act(optimizer, watched.steps - 1, Given(parameters, grads, present, norms))
            if act is not None:
                _note(watched, act, watched.newest_in_full(), grads, present)
        except Exception as error:
            self._give_up(watched, guard, optimizer, error)
        return guard.is_holding

    def before_closure(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        """A step begins that will evaluate its closure."""
        if watched.guard is not None and isinstance(optimizer, torch.optim.LBFGS):
            watched.guard.keep(optimizer)

    def restore(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        """The step is over."""
        if watched.guard is not None and watched.guard.is_holding:
            watched.guard.restore(optimizer)

    def withheld(self, watched: WatchedOptimizer, optimizer: Optimizer) -> None:
        """A scaler keeps the optimizer from the pending step. Where weights are lost, it will for ever: let them go
        back."""
        if watched.guard is not None and watched.guard.would_go_back:
            self.act(watched, optimizer)
            self.restore(watched, optimizer)

    def _give_up(self, watched: WatchedOptimizer, guard: StepGuard, optimizer: Optimizer, error: Exception) -> None:
        guard.restore(optimizer)
        watched.guard = None
        self._say_unguarded(f"{type(error).__name__}: {error}")

    def _say_unguarded(self, why: str) -> None:
        self._say_unseen(UNGUARDED, f"No policy acts: {why}.")
        say_unguarded(why)


def _act(watched: WatchedOptimizer, guard: StepGuard, optimizer: Optimizer, row: StepRow) -> None:
    parameters, grads, present = gradients_of(optimizer)
    if row.evaluations:
        row.reading = watched.read(grads, present)  # the closure was evaluated again
    norms = row.true_norms()
    if guard.lets_pass(norms):
        return
    given = Given(parameters, grads, present, norms, row.grad_scale, row.raw_norm())
    act = guard.act(optimizer, row.step, given)
    if act is not None:
        _note(watched, act, row, grads, present)


def _note(
    watched: WatchedOptimizer, act: Act, row: StepRow, grads: list[torch.Tensor], present: list[int] | None
) -> None:
    """Put into the row of a step what was done to it."""
    row.act = act
    if act.lr_scale != 1.0:
        row.lr, row.lr_max = row.lr * act.lr_scale, row.lr_max * act.lr_scale
    if act.moves:
        row.samples = {}  # what they say of the weights is no longer so
    if act.scale is None:
        row.note_mapped(watched.read(grads, present))
    elif isinstance(act.acts, Acts):
        row.skipped = row.skipped or act.acts.skip
