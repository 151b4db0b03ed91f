"""A second look at a sampled step's batch, outside of the step: what every layer and the loss were given and gave.

One forward pass as in training and its gradients, with the weights from before the step. It is a function of its own,
traced and compiled apart, whose reads come from copies and whose writes go nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

import keras
import numpy as np

from .. import _facts
from ._probe_pass import Forward, Found, FoundCall, FoundLoss, Given, Pass
from ._probe_undisturbed import undisturbed

Rows = list[dict[str, Any]]
MakePass = Callable[[Forward, Given], Pass]

# Floats of outputs and gradients that a pass may hand out: 128 MB.
MOST_ENTRIES = 1 << 25
MOST_PASSES = 8


class Probe:
    """Of one model, which it does not keep alive. `make_pass` is the backend's; `fewer` is told (rows used, rows) where
    a batch is too large to be seen whole."""

    def __init__(self, make_pass: MakePass, fewer: Callable[[int, int], None]) -> None:
        self._make_pass, self._fewer = make_pass, fewer
        self._passes: dict[Any, tuple[Pass, int | None]] = {}
        self._targets: dict[str, _facts.Targets] = {}

    def __call__(self, model: Any, given: Given) -> tuple[Rows, dict[str, Any] | None]:
        """Rows of the table `modules` in the order of the calls, and the row of `losses` of the largest loss."""
        key = _form_of(model, given)
        if key not in self._passes:
            with undisturbed(model):
                self._remember(key, self._make(Forward(model), given))
        made, rows = self._passes[key]
        (outputs, inputs, losses), gradients = made.run(_first(given, rows))
        scale = float(given.scale)
        calls = made.found.calls
        modules = [
            {"call": i, **_columns(call, outputs[i], inputs[i])}
            | ({} if gradients is None or gradients[i] is None else _facts.gradient_facts(gradients[i] / scale))
            for i, call in enumerate(calls)
        ]
        loss = self._loss(made.found, losses)
        if loss is not None and given.sample_weight is not None:
            loss.pop("chance", None)  # of rows that count unequally it is not known
        return modules, loss

    def _make(self, forward: Forward, given: Given) -> tuple[Pass, int | None]:
        made, rows, fewer = self._make_pass(forward, given), _rows_of(given), None
        if rows and made.found.entries > MOST_ENTRIES:
            fewer = max(1, rows * MOST_ENTRIES // made.found.entries)
            self._fewer(fewer, rows)
            given = _first(given, fewer)
            made = self._make_pass(forward, given)
        made.compile(given)
        return made, fewer

    def _remember(self, key: Any, made: tuple[Pass, int | None]) -> None:
        if len(self._passes) >= MOST_PASSES:
            self._passes.pop(next(iter(self._passes)))
        self._passes[key] = made

    def _loss(self, found: Found, losses: list[Any]) -> dict[str, Any] | None:
        known = [
            (float(value), call, y_true, y_pred)
            for call, (y_true, y_pred, value) in zip(found.losses, losses, strict=True)
            if np.ndim(value) == 0
        ]
        if not known:
            return None
        value, call, y_true, y_pred = max(known, key=lambda entry: entry[0])
        return _loss_row(value, call, y_true, y_pred, self._targets)


def _form_of(model: Any, given: Given) -> Any:
    """All that a compiled pass depends on."""
    forms = keras.tree.map_structure(lambda x: x if x is None else f"{x.shape} {x.dtype}", given[2:])
    loss = None if model._compile_loss is None else ref(model._compile_loss)
    return repr(forms), loss, tuple(id(variable) for variable in model.trainable_variables)


def _columns(call: FoundCall, y: Any, x: Any) -> dict[str, Any]:
    columns = {"module": call.module, "kind": call.kind, "weighted": call.weighted}
    columns |= _facts.output_facts(y, call.axis, call.activation)
    if x is not None:
        columns |= _facts.input_facts(x, call.x_axis, call.passed.name, unchanged=call.passed.unchanged)
    return columns


def _loss_row(
    value: float, call: FoundLoss, y_true: Any, y_pred: Any, seen: dict[str, _facts.Targets]
) -> dict[str, Any]:
    outputs = _as_given(call.kind, np.asarray(y_pred, dtype=np.float32), call.axis)
    targets = np.asarray(y_true)
    if not call.labels:
        targets = _alike(targets, outputs)
    ignored = {} if call.ignored is None else {"ignored": call.ignored}
    facts = _facts.loss_facts(call.kind, outputs, targets, seen, axis=call.axis, labels=call.labels, **ignored)
    if call.labels and call.counts_all and (classes := facts.get("classes")):
        facts["labels_beyond"] = _facts.labels_beyond(targets, classes)
    return {**facts, "value": value} | ({} if call.after is None else {"output_after": call.after})


def _as_given(kind: str, outputs: Any, axis: int) -> Any:
    """Outputs as a loss of that kind is given them elsewhere: the logarithms of probabilities, which Keras' losses take
    themselves (keras/src/backend/jax/nn.py, `categorical_crossentropy`). What has an entry below 0 is none, and stays
    as it is."""
    if kind not in ("nll", "kl_div") or not outputs.size or not (outputs >= 0).all():
        return outputs
    epsilon = keras.config.epsilon()
    if kind == "nll":
        with np.errstate(all="ignore"):
            outputs = outputs / outputs.sum(axis, keepdims=True)
    return np.log(np.clip(outputs, epsilon, 1 - epsilon if kind == "nll" else 1))


def _alike(targets: Any, outputs: Any) -> Any:
    """Keras' losses let one side lack a last axis of 1 (keras/src/losses/loss.py, `squeeze_or_expand_to_same_rank`)."""
    if targets.ndim == outputs.ndim - 1 and outputs.shape[-1] == 1:
        return targets[..., None]
    if targets.ndim == outputs.ndim + 1 and targets.shape[-1] == 1:
        return targets[..., 0]
    return targets


def _rows_of(given: Given) -> int:
    first = next((x for x in keras.tree.flatten(given.x) if x is not None and len(x.shape)), None)
    return 0 if first is None else int(first.shape[0])


def _first(given: Given, rows: int | None) -> Given:
    """The first `rows` of the batch."""
    if rows is None:
        return given
    whole = _rows_of(given)
    x, y, weight = keras.tree.map_structure(
        lambda x: x[:rows] if x is not None and len(x.shape) and x.shape[0] == whole else x, given[2:]
    )
    return given._replace(x=x, y=y, sample_weight=weight)
