"""Policies at work on a Keras optimizer: they see the norms inside the step, and decide there.

What differs between the backends is in `Hands`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import ref

import keras
import numpy as np
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose

from ...policies import NUMPY, Decision, Layout, Namespace, Policy, Vitals, refuse_on_host
from .._guarding import GuardLog
from .._patches import Patches
from ._given import Given, applies_by_itself
from ._memory import Memory, flat, shaped
from ._names import roots_of
from ._twins import is_table
from ._values import current, on_host

Tensors = list[Any]


class Hands(Protocol):
    """What a backend does for policies; `frameworks/_tracing.py` says what `norms` and `apart` do."""

    xp: Namespace

    def replicates(self) -> bool:
        """The step that is under way is taken by several replicas."""

    def attach(self, patches: Patches, guard_of: Callable[[Any], Any]) -> None:
        """Before the first optimizer is made. `guard_of` makes what guards an optimizer, once it has been built."""

    def made(self, optimizer: Any) -> None:
        """It is being made."""

    def norms(self, tensors: Tensors) -> Any: ...

    def apart(self, tensors: Tensors) -> Tensors: ...

    def number(self, x: Any) -> np.ndarray[Any, Any] | None:
        """The value on the host; None where it is known in a trace only."""

    def memory(self, core: Any, start: np.ndarray[Any, Any]) -> Memory:
        """That of the optimizer `core`, which begins as `start`. Raises where there can't be any."""

    def dense(self, gradient: Any) -> Any:
        """The gradient as a tensor. Raises TypeError where it is sparse."""

    def changed(self, grads: Tensors, change: Callable[[Tensors], Tensors], touched: Any) -> Tensors:
        """`change(grads)` where `touched`, else `grads` to the bit."""

    def scaled(self, gradient: Any, factor: Any) -> Any: ...

    def keep(self, decided: Decided) -> list[tuple[Any, Any]]:
        """Variables that a step changes, and their values before it, where it can't be left out but must be undone."""

    def take(self, decided: Decided, call: Callable[[], Any]) -> Any:
        """Have `call` take the step. Where nothing was kept it is not called if the step is to be left out."""

    def undo(self, decided: Decided) -> None:
        """Have what was kept as it was, if the step is to be left out."""


@dataclass
class Decided:
    """What was decided of one step: tensors of the trace, or numbers on the host where `is_concrete`.

    `skip`: bool. `scale`: of each gradient, shape () or (n,), or None; `mapped`: gradients without a loss scaler's
    factor, or None; `touched`: whether any gradient is changed. `acts`: float32: whether each policy skips, then the
    least factor of each. `norms`: of the gradients after the policies, None where no policy can change them.
    """

    given: Given
    is_concrete: bool
    skip: Any
    scale: Any
    mapped: Tensors | None
    touched: Any
    acts: Any
    norms: Any
    memory: Memory | None
    remembered: Any
    kept: list[tuple[Any, Any]] = field(default_factory=list)

    def on(self, hands: Hands, grads: Tensors, unscale: Any = None) -> Tensors:
        """What the policies make of the step's gradients, which may hold a factor `unscale`."""
        if self.norms is None or (self.is_concrete and not self.touched):
            return grads
        return hands.changed(grads, lambda given: self._change(hands, given, unscale), self.touched)

    def settle(self, hands: Hands) -> None:
        """The step has been taken, or left out."""
        hands.undo(self)
        if self.memory is not None:
            self.memory.write(self.remembered)

    def _change(self, hands: Hands, grads: Tensors, unscale: Any) -> Tensors:
        if self.mapped is not None:
            is_scaled = unscale is not None and not _is_one(unscale)
            mapped = [hands.scaled(m, unscale) for m in self.mapped] if is_scaled else self.mapped
            grads = [hands.xp.like(m, g) for m, g in zip(mapped, grads, strict=True)]
        if self.scale is None:
            return grads
        one_each = len(self.scale.shape) > 0
        return [hands.scaled(g, self.scale[i] if one_each else self.scale) for i, g in enumerate(grads)]


class StepGuard:
    """The policies of one optimizer, with their memory."""

    def __init__(self, policy: Policy, core: Any, hands: Hands) -> None:
        refuse_on_host(policy, "Keras")
        self.policies = tuple(part.text for part in policy.parts)
        self.log = GuardLog(self.policies, _weights_lost(ref(core)))
        self._policy = policy
        self._hands = hands
        self._maps = not policy.needs <= {"norms"}
        self._count = len(core._trainable_variables)
        self._layout = layout_of(core) if self._maps else Layout()
        self._template = policy.start(self._count, NUMPY)
        start = flat(self._template, NUMPY)
        self._memory = None if start is None else hands.memory(core, start)

    def decide(self, given: Given, norms: Any) -> Decided | None:
        """`norms`: of `given.grads`. None where these are only put by, or withheld by a loss scaler."""
        numbers = [number for x in (norms, given.scale, given.applied) if (number := self._hands.number(x)) is not None]
        is_concrete = len(numbers) == 3
        if is_concrete and (not numbers[2] or (given.is_withholding and not np.isfinite(numbers[0]).all())):
            return None
        on_host = is_concrete and not self._maps
        norms, scale, applied = numbers if on_host else (norms, given.scale, given.applied)
        decided = self._decide(given, norms, scale, applied, NUMPY if on_host else self._hands.xp)
        if is_concrete:
            decided.is_concrete = True
            decided.skip = bool(self._hands.number(decided.skip))
            decided.touched = bool(self._hands.number(decided.touched))
        decided.kept = self._hands.keep(decided)
        return decided

    def _decide(self, given: Given, norms: Any, scale: Any, applied: Any, xp: Namespace) -> Decided:
        with xp.quiet():
            vitals = self._vitals(given, norms, scale, xp)
            before = None if self._memory is None else self._memory.read()
            if xp is NUMPY and before is not None:
                before = self._hands.number(before)
            new, decision = self._policy.decide(shaped(before, self._template), vitals, xp)
            counts = _counts(given, applied, vitals)
            after = flat(new, xp)
            places = given.places
            factors = _of_present(decision.scale, places, self._count, xp)
            mapped = None if decision.grads is None else [decision.grads[place] for place in places]
            changes = factors is not None or mapped is not None
            if changes and given.core.gradient_accumulation_steps and applies_by_itself(given.core):
                raise TypeError("an optimizer with an `apply` of its own puts gradients by")
            old = [vitals.grads[place] for place in places] if mapped else []
            return Decided(
                given=given,
                is_concrete=False,
                skip=decision.skip if counts is None else decision.skip & counts,
                scale=factors,
                mapped=mapped,
                touched=self._touched(factors, mapped, old, xp) if changes else False,
                acts=_acts(decision, counts, xp),
                norms=self._norms_after(norms, factors, mapped, scale) if changes else None,
                memory=self._memory,
                remembered=after if counts is None or after is None else xp.where(counts, after, before),
            )

    def _vitals(self, given: Given, norms: Any, scale: Any, xp: Namespace) -> Vitals:
        """`scale`: a loss scaler's factor in the gradients, and so in their norms."""
        true = norms / scale
        squares = _spread(true * true, given.places, self._count, xp)
        infinite = xp.where(xp.isfinite(norms), xp.full(len(given.grads), 0.0), 1.0)
        all_finite = xp.sum(infinite) < 0.5
        if not self._maps:
            return Vitals(squares, all_finite, layout=self._layout)
        nothing = xp.full(1, 0.0)[0]
        grads, weights = [nothing] * self._count, [nothing] * self._count
        dense = self._hands.apart([self._hands.dense(g) for g in given.grads])
        for place, grad, variable in zip(given.places, dense, given.variables, strict=True):
            grads[place] = grad if _is_one(scale) else xp.like(xp.wide(grad) / scale, grad)
            weights[place] = current(variable)
        return Vitals(squares, all_finite, tuple(grads), tuple(weights), self._layout)

    def _touched(self, factors: Any, mapped: Tensors | None, before: Tensors, xp: Namespace) -> Any:
        touched = xp.full(1, 0.0)[0] > 0.5
        if mapped is not None:
            differences = [new - old for new, old in zip(mapped, before, strict=True)]
            touched = touched | (xp.sum(self._hands.norms(differences)) > 0.0)
        if factors is not None:
            ones = xp.full(factors.shape[0] if len(factors.shape) else 1, 1.0)
            touched = touched | (xp.sum(xp.where(factors != 1.0, ones, 0.0)) > 0.5)
        return touched

    def _norms_after(self, norms: Any, factors: Any, mapped: Tensors | None, scale: Any) -> Any:
        """Still with the loss scaler's factor."""
        after = norms if mapped is None else self._hands.norms(mapped) * scale
        return after if factors is None else after * factors


def layout_of(core: Any) -> Layout:
    """Units lie on a kernel's last axis, in an embedding on the first, and in a transposed convolution on the last but
    one; the head is the last layer with a weight of two axes."""
    head: set[int] = set()
    transposed: set[int] = set()
    for root in roots_of(core._trainable_variables, keras.Layer):
        for layer in root._flatten_layers(include_self=True):
            own = [v for v in layer._trainable_variables if len(v.shape) > 1]
            if own:
                head = {id(v) for v in layer._trainable_variables}
            if isinstance(layer, BaseConvTranspose):
                transposed |= {id(v) for v in own}
    variables = core._trainable_variables
    axes = tuple(
        None if len(v.shape) < 2 else 0 if is_table(v) else -2 if id(v) in transposed else -1 for v in variables
    )
    return Layout(axes, tuple(id(v) in head for v in variables))


def _is_one(scale: Any) -> bool:
    return isinstance(scale, float) and scale == 1.0


def _counts(given: Given, applied: Any, vitals: Vitals) -> Any:
    """Whether the policies see the step, as far as that is known in the step only; None where they do."""
    counts = None if isinstance(given.applied, float) else applied
    if given.is_withholding:
        counts = vitals.all_finite if counts is None else counts & vitals.all_finite
    return counts


def _acts(decision: Decision, counts: Any, xp: Namespace) -> Any:
    one = xp.full(1, 1.0)
    skips = [part.skip if counts is None else part.skip & counts for part in decision.parts]
    return xp.concat(
        [*(xp.where(skip, one, 0.0) for skip in skips), *(_least(part, one, xp) for part in decision.parts)]
    )


def _least(part: Decision, one: Any, xp: Namespace) -> Any:
    """Shape (1,); NaN for a policy that maps gradients entry by entry."""
    if part.grads is not None:
        return one * math.nan
    if part.scale is None:
        return one
    return one * (xp.sort(part.scale)[0] if len(part.scale.shape) else part.scale)


def _spread(values: Any, places: list[int], count: int, xp: Namespace) -> Any:
    """`values` at their places among `count`, elsewhere 0."""
    if places == list(range(count)):
        return values
    at = {place: i for i, place in enumerate(places)}
    zero = xp.full(1, 0.0)
    return xp.concat([values[at[i] : at[i] + 1] if i in at else zero for i in range(count)])


def _of_present(scale: Any, places: list[int], count: int, xp: Namespace) -> Any:
    if scale is None or not len(scale.shape) or places == list(range(count)):
        return scale
    return xp.concat([scale[place : place + 1] for place in places])


def _weights_lost(core: ref[Any]) -> Callable[[], bool]:
    def weights_lost() -> bool:
        found = core()
        values = [] if found is None else [on_host(v) for v in found._trainable_variables]
        return any(value is not None and not np.isfinite(value).all() for value in values)

    return weights_lost
