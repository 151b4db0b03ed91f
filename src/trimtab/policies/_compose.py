"""Policies one after the other, each on what the one before has left; orders that make no sense are refused."""

from __future__ import annotations

from dataclasses import replace

from ._policy import Decision, Policy, State, Vitals, keep, never, scaled
from ._settings import PolicyError
from ._xp import Array, Namespace

Grads = tuple[Array, ...]


def compose(*policies: Policy) -> Policy:
    """One policy of several, in the order in which they act.

    Each sees the gradients and norms that the earlier ones left; the step is skipped if one skips it, and then no later
    one remembers it, but those on the host. The decision's `parts` say what each did.
    """
    parts = tuple(part for policy in policies for part in policy.parts or (policy,))
    if not parts:
        raise PolicyError("no policy to compose; give at least one, as `clip=global:1.0`")
    _refuse_senseless(parts)
    norms_needed = tuple(any("norms" in later.needs for later in parts[i + 1 :]) for i in range(len(parts)))

    def start(tensors: int, xp: Namespace) -> State:
        return tuple(part.start(tensors, xp) for part in parts)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        with xp.quiet():
            return _in_turn(parts, norms_needed, state, vitals, xp)

    def returned(now: State, then: State) -> State:
        return tuple(part.returned(*memory) for part, *memory in zip(parts, now, then, strict=True))

    needs = frozenset().union(*(part.needs for part in parts))
    on_host = any(part.on_host for part in parts)
    text = " ".join(part.text for part in parts)
    norms = [part.harmless for part in parts if part.harmless is not None]
    harmless = min(norms) if len(norms) == len(parts) else None
    return Policy(text, decide, start, needs=needs, parts=parts, harmless=harmless, on_host=on_host, returned=returned)


def _in_turn(
    parts: tuple[Policy, ...], norms_needed: tuple[bool, ...], state: State, vitals: Vitals, xp: Namespace
) -> tuple[State, Decision]:
    """`norms_needed[i]`: one after the i-th policy reads norms."""
    skip, scale, grads = never(vitals), None, None
    memories, decisions = [], []
    for place, part in enumerate(parts):
        if "grads" in part.needs and scale is not None:
            scale, grads = None, _scaled(vitals.grads, scale, xp)
            vitals = replace(vitals, grads=grads)
        memory, decision = part.decide(state[place], vitals, xp)
        memories.append(memory if part.on_host else keep(~skip, memory, state[place], xp))
        decisions.append(decision)
        skip = skip | decision.skip
        if decision.scale is not None:
            scale = decision.scale if scale is None else scale * decision.scale
        if decision.grads is not None:
            grads = decision.grads
        vitals = _left_by(decision, vitals, norms_needed[place], xp)
    return tuple(memories), Decision(skip, scale, grads, tuple(decisions))


def _left_by(decision: Decision, vitals: Vitals, needs_norms: bool, xp: Namespace) -> Vitals:
    """What the next policy sees. Tensors are not scaled here: `_in_turn` does so once one needs them."""
    squares = vitals.grad_sum_of_squares
    if decision.grads is not None:
        if needs_norms and decision.grads:
            squares = xp.concat([xp.like(xp.sum_of_squares(g), squares)[None] for g in decision.grads])
        return replace(vitals, grads=decision.grads, grad_sum_of_squares=squares)
    if decision.scale is not None and needs_norms:
        return replace(vitals, grad_sum_of_squares=squares * decision.scale * decision.scale)
    return vitals


def _scaled(grads: Grads, scale: Array, xp: Namespace) -> Grads:
    one_each = len(scale.shape) > 0
    return tuple(scaled(g, scale[i] if one_each else scale, xp) for i, g in enumerate(grads))


def _refuse_senseless(parts: tuple[Policy, ...]) -> None:
    for place, later in enumerate(parts):
        for earlier in parts[:place]:
            reason = _senseless(earlier, later)
            if reason:
                raise PolicyError(f"`{later.text}` after `{earlier.text}`: {reason}")


def _senseless(earlier: Policy, later: Policy) -> str:
    """Why `later` makes no sense behind `earlier`, and what to do; empty where it does."""
    if earlier.name == later.name:
        return "the same policy twice; keep one of them"
    if earlier.name in later.undoes:
        return f"whatever {earlier.name} has done to the gradient, {later.name} undoes; leave out {earlier.name}"
    if later.compares and earlier.bounds:
        return (
            f"{later.name} judges norms by earlier norms, which {earlier.name} has evened out; put {later.name} first"
        )
    return ""
