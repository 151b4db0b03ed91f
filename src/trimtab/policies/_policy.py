"""What a policy is: a pure function from its memory and the step's vitals to its new memory and a decision.

All that is here is a value: arrays of fixed shapes, so that a policy lives in a traced graph, on a GPU's stream or on
the host. The protection that every policy needs against NaN is `protected`, once, here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ._xp import Array, Namespace

State = tuple[Any, ...]
"""A policy's memory: float32 arrays of fixed shapes, in tuples; a pytree for JAX, a structure for tf.nest."""


@dataclass(frozen=True)
class Layout:
    """What holds for every step. Empty where no policy in use asks for it.

    `unit_axes`: per tensor the axis that counts its units: 0 for PyTorch's weights, -1 for the kernels of Keras and
    flax; None where the whole tensor is one unit, as a bias. `heads`: True for tensors of the last layer.
    """

    unit_axes: tuple[int | None, ...] = ()
    heads: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Vitals:
    """What policies see of a step, before the optimizer's update and after unscaling.

    `grad_sum_of_squares`: per tensor, float32, shape (n,), infinite where squares leave float32's range.
    `all_finite`: bool, shape (): no entry of any gradient is NaN or infinite. It is judged on entries, since a sum of
    squares may overflow. `grads` and `weights`: the tensors, for policies that need them; dense, real. `raw_norm`: of
    the whole gradient before the script's own clip, shape (); None where the script has not clipped it.
    """

    grad_sum_of_squares: Array
    all_finite: Array
    grads: tuple[Array, ...] = ()
    weights: tuple[Array, ...] = ()
    layout: Layout = Layout()
    raw_norm: Array | None = None
    weights_finite: Callable[[], bool] = lambda: True
    _total: list[Array] = field(default_factory=list, init=False, repr=False, compare=False)

    def total(self, xp: Namespace) -> Array:
        """Sum of squares of all gradients, shape (), summed once."""
        if not self._total:
            self._total.append(xp.sum(self.grad_sum_of_squares))
        return self._total[0]


@dataclass(frozen=True)
class Recovery:
    """What a policy on the host wants done to the training itself, before the step.

    `lr_scale`: factor on the learning rates of this step alone. `keep`: copy weights and the optimizer's state, as a
    place to go back to; the two newest such copies stay. `back`: go back to the older of them. `rest`: the step is left
    out on purpose. `gives_up`: it would go back, but has done so too often.
    """

    lr_scale: float = 1.0
    keep: bool = False
    back: bool = False
    rest: bool = False
    gives_up: bool = False


@dataclass(frozen=True)
class Decision:
    """What happens to the step: gradients become `grads`, times `scale`; if `skip`, nothing may happen at all.

    `skip`: bool, shape (). `scale`: float32, shape () or (n,), finite, or None where this policy never scales.
    `grads`: the mapped tensors, or None where this policy maps none; of no meaning if `skip`.
    `parts`: of a composition, the decision of each policy, in order. `recovery`: of a policy on the host.
    """

    skip: Array
    scale: Array | None = None
    grads: tuple[Array, ...] | None = None
    parts: tuple[Decision, ...] = ()
    recovery: Recovery | None = None


Decide = Callable[[State, Vitals, Namespace], tuple[State, Decision]]
Start = Callable[[int, Namespace], State]
Return = Callable[[State, State], State]


def no_memory(tensors: int, xp: Namespace) -> State:
    """The memory of a policy that judges every step alone."""
    return ()


def as_then(now: State, then: State) -> State:
    """What a policy remembers once the weights have gone back: what it remembered when they were copied."""
    return then


@dataclass(frozen=True)
class Policy:
    """One intervention on gradients. Equal to another if its `text` is.

    `text`: as `parse_policy` reads it. `decide(state, vitals, xp)` returns (state, decision).
    `start(n, xp)`: the memory before the first step, for n tensors.
    `needs`: what of Vitals it reads besides `all_finite`: "norms", "grads", "weights".
    For `compose`: `bounds`: it decides how long the gradient may be. `compares`: it judges the norm by those of earlier
    steps. `undoes`: names of policies that have no effect before it. `parts`: what it is composed of.
    `harmless`: what it does not act on, nor remembers: a finite gradient whose global norm is at most that; None where
    there is no such norm.
    `on_host`: it acts on the training itself, by `Decision.recovery`, is decided in numbers of Python, and sees also
    the steps that another leaves out. `returned(now, then)`: its memory after the weights have gone back to where they
    were when it was `then`.
    """

    text: str
    decide: Decide = field(compare=False, repr=False)
    start: Start = field(default=no_memory, compare=False, repr=False)
    needs: frozenset[str] = frozenset({"norms"})
    bounds: bool = False
    compares: bool = False
    undoes: frozenset[str] = frozenset()
    parts: tuple[Policy, ...] = ()
    harmless: float | None = None
    on_host: bool = False
    returned: Return = field(default=as_then, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The text without its settings: "clip=global"; of "warmup=100" "warmup"."""
        return name_of(self.text)


def name_of(text: str) -> str:
    """The name in the text of a policy, which may be one that is not known."""
    name = text.strip().partition(":")[0]
    word, _, value = name.partition("=")
    return word if value.isdecimal() else name


def protected(rule: Decide, needs: frozenset[str]) -> Decide:
    """`rule` with what all policies have in common: a step that is not finite is skipped and leaves no trace.

    Where the norms are needed, so is a gradient whose squares overflow float32 (a norm beyond 1.8e19): nobody knows
    its length. The scale of such a step is 1, the memory is the one before.
    """

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        with xp.quiet():
            usable = vitals.all_finite
            if "norms" in needs:
                usable = usable & xp.isfinite(vitals.total(xp))
            proposed, decision = rule(state, vitals, xp)
            scale = None if decision.scale is None else xp.where(usable, decision.scale, 1.0)
            return keep(usable, proposed, state, xp), Decision(decision.skip | ~usable, scale, decision.grads)

    return decide


def keep(accepted: Array, new: State, old: State, xp: Namespace) -> State:
    """`new` where the step is accepted, else `old`, through all tuples."""
    return tuple(
        keep(accepted, n, o, xp) if isinstance(n, tuple) else xp.where(accepted, n, o)
        for n, o in zip(new, old, strict=True)
    )


def never(vitals: Vitals) -> Array:
    """False, shape (): the `skip` of a policy that skips on nothing but what all do."""
    return vitals.all_finite & ~vitals.all_finite


def global_norm(vitals: Vitals, xp: Namespace) -> Array:
    """2-norm of all gradients laid end to end, shape ()."""
    return xp.sqrt(vitals.total(xp))


ROUNDING = 1e-5  # of a norm in float32, at most


def below(bound: float, epsilon: float = 0.0) -> float:
    """The norm up to which `limit` is surely 1."""
    return bound * (1.0 - ROUNDING) - epsilon


def limit(norm: Array, threshold: Array | float, epsilon: float, xp: Namespace) -> Array:
    """min(1, threshold / (norm + epsilon)): exactly 1 where nothing is to be clipped."""
    return xp.minimum(threshold / (norm + epsilon), 1.0)


def scaled(tensor: Array, factor: Array, xp: Namespace) -> Array:
    """tensor * factor, computed in float32 or wider, in the tensor's dtype."""
    wide = xp.wide(tensor)
    return xp.like(wide * xp.like(factor, wide), tensor)


def other_axes(tensor: Array, unit_axis: int | None) -> tuple[int, ...] | None:
    """The axes within one unit; None where the whole tensor is one: it has one axis at most, or no unit axis."""
    rank = len(tensor.shape)
    if unit_axis is None or rank < 2:
        return None
    return tuple(axis for axis in range(rank) if axis != unit_axis % rank)
