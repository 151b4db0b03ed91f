"""Keras on PyTorch: what its layers and losses are given and give, read in the sampled step itself."""

from __future__ import annotations

from typing import Any

import keras
import torch

from .. import _facts
from .._guard import Guard
from ..torch._passed import activation_passed
from ._names import layer_names
from ._probe import _columns, _loss_row
from ._probe_calls import Call, Calls
from ._probe_graph import Passed
from ._probe_pass import FoundCall, _found_loss

Rows = list[dict[str, Any]]


class TorchReader:
    """While on, sees every call of a Keras layer that computes with gradients.

    It stands beside the reader of PyTorch's modules, which passes over Keras' layers.
    """

    #: What the other reader passes over.
    skipped = keras.Layer

    def __init__(self, guard: Guard) -> None:
        self._enter, self._leave = guard(self._begin), guard(self._end)
        self._tap = guard(self._watch_gradient)
        self._calls: Calls | None = None
        self._names: dict[int, str] = {}
        self._gradients: dict[int, Any] = {}
        self._targets: dict[str, _facts.Targets] = {}

    def name(self, roots: list[Any]) -> None:
        """Layers under `roots` are called by their paths."""
        self._names |= layer_names(roots)

    def switch(self, on: bool) -> None:
        """Read the calls to come, or no longer."""
        if on and self._calls is None:
            self._enter()
        elif not on and self._calls is not None:
            self._leave()

    def take(self) -> tuple[Rows, Rows]:
        """Rows of `modules`, in the order of the calls, and of `losses`, of what was called since the last time."""
        calls, gradients = self._calls, self._gradients
        if calls is None:
            return [], []
        modules, losses = calls.calls, calls.losses
        self._leave()
        self._enter()
        with torch.no_grad():
            return self._module_rows(modules, gradients), self._loss_rows(losses)

    def _begin(self) -> None:
        self._gradients = {}
        self._calls = Calls(self._names, torch.is_grad_enabled, lambda number, y: self._tap(number, y) or y)
        with torch.enable_grad():
            self._calls.__enter__()

    def _end(self) -> None:
        calls, self._calls = self._calls, None
        if calls is not None:
            calls.__exit__()

    def _watch_gradient(self, number: int, y: Any) -> None:
        gradients = self._gradients
        if y.requires_grad and not y.is_meta:
            y.register_hook(lambda gradient: gradients.__setitem__(number, gradient))

    def _module_rows(self, calls: list[Call], gradients: dict[int, Any]) -> Rows:
        rows: Rows = []
        for number, call in enumerate(calls):
            if call.y.requires_grad and not call.y.is_meta:
                row = {"call": len(rows), **_columns(_found(number, call), _array(call.y), _array(call.x))}
                if number in gradients:
                    row |= _facts.gradient_facts(_array(gradients[number]))
                rows.append(row)
        return rows

    def _loss_rows(self, calls: list[Any]) -> Rows:
        rows = []
        for call in calls:
            if call.value.requires_grad and call.value.dim() == 0 and not call.value.is_meta:
                found = _found_loss(call, activation_passed(call.y_pred).name)
                y_true, y_pred = _array(call.y_true), _array(call.y_pred)
                rows.append(_loss_row(float(call.value), found, y_true, y_pred, self._targets))
        return rows


def _found(number: int, call: Call) -> FoundCall:
    passed = Passed(None)
    if call.x is not None and call.x.requires_grad:
        seen = activation_passed(call.x)
        passed = Passed(seen.name, seen.unchanged)
    return FoundCall(number, call.kind, call.module, call.weighted, call.activation, call.axis, call.x_axis, passed)


def _array(tensor: Any) -> Any:
    if tensor is None:
        return None
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
