"""Trainings in miniature: gradients step by step, and a policy that is walked through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from tests.policies._namespaces import Kind, back

from trimtab.policies import Decision, Layout, Policy, State, Vitals

Arrays = Sequence[np.ndarray[Any, Any]]
LAYOUT = Layout(unit_axes=(0, None, 0), heads=(False, False, True))
SHAPES = ((4, 3), (4,), (2, 4))


class Outcome(NamedTuple):
    """What a step came to, in NumPy; `grads` are those that the optimizer would see."""

    skip: bool
    scale: np.ndarray[Any, Any]
    grads: list[np.ndarray[Any, Any]]


def weights() -> list[np.ndarray[Any, Any]]:
    random = np.random.default_rng(7)
    return [random.normal(size=shape).astype(np.float32) for shape in SHAPES]


def gradients(norm: float, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Three tensors whose norm as one vector is `norm`."""
    random = np.random.default_rng(seed)
    grads = [random.normal(size=shape) for shape in SHAPES]
    whole = np.sqrt(sum(float((g**2).sum()) for g in grads))
    return [(g * (norm / whole)).astype(np.float32) for g in grads]


def spoilt(bad: float, norm: float = 1.0) -> list[np.ndarray[Any, Any]]:
    grads = gradients(norm)
    grads[1][2] = bad
    return grads


def training(steps: int = 60, seed: int = 1) -> list[list[np.ndarray[Any, Any]]]:
    """At most 60: healthy norms about 1, spikes from 30 to 1e6, NaN and infinities."""
    random = np.random.default_rng(seed)
    norms = np.exp(0.3 * random.normal(size=60))
    norms[[9, 30, 31, 45]] *= [30, 1e6, 1e4, 100]
    walk = [gradients(norm, seed=i) for i, norm in enumerate(norms)]
    for place, bad in ((0, np.nan), (12, np.inf), (33, np.nan), (34, -np.inf)):
        walk[place] = spoilt(bad)
    return walk[:steps]


def vitals_of(kind: Kind, grads: Arrays, layout: Layout = LAYOUT, of_weights: Arrays | None = None) -> Vitals:
    with np.errstate(all="ignore"):
        squares = np.array([np.square(g.astype(np.float32)).sum() for g in grads], np.float32)
    finite = np.bool_(all(np.isfinite(g).all() for g in grads))
    own = weights() if of_weights is None else of_weights
    return Vitals(
        kind.give(squares), kind.give(finite), tuple(map(kind.give, grads)), tuple(map(kind.give, own)), layout
    )


def stepper(kind: Kind, policy: Policy, *, compiled: bool = False) -> Callable[[State, Vitals], tuple[State, Decision]]:
    """`policy.decide`, in a graph if `compiled`."""
    layouts: list[Layout] = []

    def traced(state: State, squares: Any, finite: Any, grads: Any, own: Any) -> Any:
        seen = Vitals(squares, finite, tuple(grads), tuple(own), layouts[-1])
        state, decision = policy.decide(state, seen, kind.xp)
        return state, decision.skip, decision.scale, decision.grads

    function = kind.compiled(traced) if compiled else traced

    def step(state: State, vitals: Vitals) -> tuple[State, Decision]:
        layouts.append(vitals.layout)
        state, *decision = function(state, vitals.grad_sum_of_squares, vitals.all_finite, vitals.grads, vitals.weights)
        return state, Decision(*decision)

    return step


def outcome(decision: Decision, grads: Arrays) -> Outcome:
    scale = np.float32(1) if decision.scale is None else back(decision.scale)
    mapped = list(grads) if decision.grads is None else [back(g) for g in decision.grads]
    each = np.broadcast_to(scale, len(mapped))
    with np.errstate(all="ignore"):
        applied = [g * s for g, s in zip(mapped, each, strict=True)]
    return Outcome(bool(back(decision.skip)), scale, applied)


def walked(
    kind: Kind, policy: Policy, walk: Sequence[Arrays], *, compiled: bool = False, layout: Layout = LAYOUT
) -> tuple[State, list[Outcome]]:
    """The memory at the end, and what each step came to."""
    step = stepper(kind, policy, compiled=compiled)
    state = policy.start(len(walk[0]), kind.xp)
    outcomes = []
    for grads in walk:
        state, decision = step(state, vitals_of(kind, grads, layout))
        outcomes.append(outcome(decision, grads))
    return state, outcomes


def leaves(state: State) -> list[np.ndarray[Any, Any]]:
    return [leaf for part in state for leaf in (leaves(part) if isinstance(part, tuple) else [back(part)])]


def norm_of(grads: Arrays) -> float:
    return float(np.sqrt(sum(float((np.asarray(g, np.float64) ** 2).sum()) for g in grads)))
