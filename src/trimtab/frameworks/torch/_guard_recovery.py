"""What recoveries do to an optimizer between its steps: copies to go back to, and the learning rate of one step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.nn import Module

Optimizer = torch.optim.Optimizer
Roots = Sequence[ref[Module]]


@dataclass
class Copy:
    """Weights, state of the optimizer, buffers and random generators as they were before `step`, in the host's memory.

    `memory`: what the policies remembered.
    """

    step: int
    memory: Any
    weights: list[Any]
    state: list[Any]
    beside: dict[Any, Any]
    buffers: list[Any]
    generators: list[tuple[torch.device, Tensor]]


@dataclass
class _Kept:
    """A tensor's values on the host, and where they belong."""

    values: Tensor
    device: torch.device


class Recoverer:
    """The copies of one optimizer, two at most, each made in the memory of the one that it replaces.

    `roots`: the modules whose buffers go back with the weights. Refers to none of what it copies.
    """

    def __init__(self, roots: Roots) -> None:
        self._roots = tuple(roots)
        self._copies: list[Copy] = []
        self._spare: Copy | None = None
        self._rates: list[tuple[dict[str, Any], Any, Any]] = []

    @torch.no_grad()
    def keep(self, optimizer: Optimizer, step: int, memory: Any) -> None:
        """Copy all as it is before `step`."""
        into = self._copies.pop(0) if len(self._copies) == 2 else self._spare
        self._spare = None
        parameters = _parameters(optimizer)
        own = set(parameters)
        state = optimizer.state
        weights, states, buffers = ([], [], []) if into is None else (into.weights, into.state, into.buffers)
        self._copies.append(
            Copy(
                step,
                memory,
                _copied(parameters, weights),
                _copied([state.get(p) for p in parameters], states),
                _copied({key: value for key, value in state.items() if key not in own}, None),
                _copied(self._buffers(), buffers),
                _generators(parameters),
            )
        )

    @torch.no_grad()
    def back(self, optimizer: Optimizer) -> Copy | None:
        """Put all back to the older copy, which stays; None, and nothing done, where there is none."""
        if not self._copies:
            return None
        older = self._copies[0]
        if len(self._copies) == 2:
            self._spare = self._copies.pop()
        parameters = _parameters(optimizer)
        for now, kept in zip(parameters, older.weights, strict=False):
            _put_back(kept, now)
        states = {p: state for p, state in zip(parameters, older.state, strict=False) if state is not None}
        for key in [key for key in optimizer.state if key not in states and key not in older.beside]:
            del optimizer.state[key]
        for key, kept in [*states.items(), *older.beside.items()]:
            optimizer.state[key] = _put_back(kept, optimizer.state.get(key))
        for now, kept in zip(self._buffers(), older.buffers, strict=False):
            _put_back(kept, now)
        for device, state in older.generators:
            _set_generator(device, state)
        return older

    def forget(self) -> None:
        """Nobody will go back."""
        self._copies, self._spare = [], None

    def scale_rates(self, optimizer: Optimizer, factor: float) -> None:
        """Multiply every learning rate, until `put_rates_back`."""
        self.put_rates_back()
        for group in optimizer.param_groups:
            rate = group.get("lr")
            if isinstance(rate, (int, float, Tensor)):
                group["lr"] = rate * factor
                self._rates.append((group, rate, group["lr"]))

    def put_rates_back(self) -> None:
        """The groups have again the learning rates that they had, the same objects, but those set anew meanwhile."""
        for group, before, ours in self._rates:
            if group.get("lr") is ours:
                group["lr"] = before
        self._rates = []

    @property
    def is_holding(self) -> bool:
        """`put_rates_back` must be called after the step."""
        return bool(self._rates)

    def _buffers(self) -> list[Tensor]:
        return [buffer for root in self._roots if (module := root()) is not None for buffer in module.buffers()]


def finite_weights(optimizer: ref[Optimizer]) -> Callable[[], bool]:
    """Says whether every weight is finite, when it is asked."""

    def are_finite() -> bool:
        found = optimizer()
        return found is None or all(bool(torch.isfinite(p).all()) for p in _parameters(found))

    return are_finite


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _copied(value: Any, into: Any) -> Any:
    """A copy of `value` on the host, through all containers; where its shape is that of `into`, in its memory."""
    if isinstance(value, Tensor):
        if not (isinstance(into, _Kept) and _fits(into.values, value)):
            into = _Kept(torch.empty_like(value, device="cpu", requires_grad=False), value.device)
        into.values.copy_(value)
        into.device = value.device
        return into
    if isinstance(value, dict):
        return {key: _copied(item, into.get(key) if isinstance(into, dict) else None) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item, old) for item, old in zip(value, _beside(value, into), strict=True)]
    return copy.deepcopy(value)


def _put_back(kept: Any, now: Any) -> Any:
    """What was copied, in the tensors and containers that are there now, where they fit."""
    if isinstance(kept, _Kept):
        if isinstance(now, Tensor) and _fits(kept.values, now):
            return now.copy_(kept.values)
        return kept.values.to(kept.device, copy=True)
    if isinstance(kept, dict):
        items = {key: _put_back(item, now.get(key) if isinstance(now, dict) else None) for key, item in kept.items()}
        if not isinstance(now, dict):
            return items
        now.clear()
        now.update(items)
        return now
    if isinstance(kept, list):
        return [_put_back(item, old) for item, old in zip(kept, _beside(kept, now), strict=True)]
    return copy.deepcopy(kept)


def _beside(items: list[Any], others: Any) -> list[Any]:
    """`others`, where they are a list of as many; else None for each."""
    return others if isinstance(others, list) and len(others) == len(items) else [None] * len(items)


def _fits(values: Tensor, other: Tensor) -> bool:
    return values.shape == other.shape and values.dtype == other.dtype


def _generators(parameters: Sequence[Tensor]) -> list[tuple[torch.device, Tensor]]:
    """The states of torch's own generators, on the host and on the devices of the parameters."""
    devices = dict.fromkeys(p.device for p in parameters if p.device.type == "cuda")
    states = [(device, torch.cuda.get_rng_state(device)) for device in devices]
    return [(torch.device("cpu"), torch.get_rng_state()), *states]


def _set_generator(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.cuda.set_rng_state(state, device)
