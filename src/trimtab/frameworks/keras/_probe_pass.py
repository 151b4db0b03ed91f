"""A model's forward pass and loss on one batch as a pure function, and what is to be known of it before it is run."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras
from keras.src.trainers.trainer import Trainer

from ._names import layer_names
from ._probe_calls import Call, Calls, LossCall, Tap
from ._probe_graph import Graph, Passed
from ._probe_kinds import loss_kind

Here = Callable[[], Any]
# The operations by which TensorFlow's crossentropies tell that their outputs are probabilities.
_TO_PROBABILITIES = {"nll": "Softmax", "bce": "Sigmoid"}


class Given(NamedTuple):
    """What a pass is computed from. `values` are those of `state_of(model)`, and perhaps of its metrics' variables; the
    loss is multiplied by `scale` before it is differentiated."""

    values: Sequence[Any]
    scale: Any
    x: Any
    y: Any
    sample_weight: Any


class NotRepeatableError(Exception):
    """The forward pass cannot be repeated without a trace in the training."""


class Pass(Protocol):
    """A backend's pass, made for a model and for data of one form: traced when it is made, by which it is `found` what
    it calls."""

    found: Found

    def compile(self, given: Given) -> None:
        """Get ready to run; may trace again."""

    def run(self, given: Given) -> Any:
        """Numbers of `tensors_of` the shown calls and the losses, and of the gradients by the shown calls' outputs
        (None where there is no loss)."""


def state_of(model: Any) -> list[Any]:
    """Variables that a forward pass may read or write, the trainable ones first."""
    return [*model.trainable_variables, *model.non_trainable_variables]


class Forward:
    """The pass of one model as it trains: dropout drops, batch statistics are the batch's."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._state = [*state_of(model), *model.metrics_variables]
        self._names = layer_names([model])
        self._has_loss = model._compile_loss is not None or type(model).compute_loss is not Trainer.compute_loss
        self.trainable = len(model.trainable_variables)

    def __call__(self, given: Given, here: Here, tap: Tap = lambda number, y: y) -> tuple[Any, Calls]:
        """The loss (None where there is none), times `scale`, and the calls. No variable is written."""
        model = self._model
        calls = Calls(self._names, here, tap)
        mapping = list(zip(self._state, given.values, strict=False))
        in_call = {"training": True} if model._call_has_training_arg else {}
        in_loss = {"training": True} if model._compute_loss_has_training_arg else {}
        with keras.StatelessScope(mapping, collect_losses=True, initialize_variables=False), calls:
            y_pred = model(given.x, **in_call)
            if not self._has_loss and not model.losses:
                return None, calls
            loss = model.compute_loss(x=given.x, y=given.y, y_pred=y_pred, sample_weight=given.sample_weight, **in_loss)
            return keras.ops.cast(loss, "float32") * given.scale, calls


@dataclass(frozen=True)
class FoundCall:
    """A call of which a row is made."""

    number: int
    kind: str
    module: str
    weighted: bool
    activation: str | None
    axis: int
    x_axis: int
    passed: Passed


@dataclass(frozen=True)
class FoundLoss:
    kind: str
    after: str | None
    axis: int
    labels: bool
    ignored: int | None
    counts_all: bool


@dataclass(frozen=True)
class Found:
    """What a trace tells of a pass. `entries` are the floats that it hands out."""

    calls: tuple[FoundCall, ...]
    losses: tuple[FoundLoss, ...]
    entries: int

    @classmethod
    def of(cls, calls: Calls, graph: Graph, key: Callable[[Any], Hashable]) -> Found:
        """`key` answers with the graph's name of a tensor."""
        graph.know((key(result), kind, key(given)) for result, kind, given in calls.links)
        shown = [(i, call) for i, call in enumerate(calls.calls) if graph.is_learned(key(call.y))]
        return cls(
            tuple(_found_call(i, call, graph, key) for i, call in shown),
            tuple(_found_loss(call, graph.passed(key(call.y_pred)).name) for call in calls.losses),
            sum(2 * _size(call.y) + (0 if call.x is None else _size(call.x)) for _, call in shown),
        )

    def tensors(self, calls: Calls) -> tuple[list[Any], list[Any], list[Any]]:
        """Of the shown calls the outputs and the first inputs (None where not wanted), and each loss's targets, outputs
        and value."""
        shown = [calls.calls[call.number] for call in self.calls]
        losses = [(call.y_true, call.y_pred, call.value) for call in calls.losses]
        return [call.y for call in shown], [call.x for call in shown], losses


def keyed(calls: Calls) -> list[Any]:
    """Every tensor that `Found.of` asks a key of."""
    links = [tensor for result, _, given in calls.links for tensor in (result, given)]
    return [*(call.y for call in calls.calls), *links, *(call.y_pred for call in calls.losses)]


def _found_call(number: int, call: Call, graph: Graph, key: Callable[[Any], Hashable]) -> FoundCall:
    passed = Passed(None) if call.x is None else graph.passed(key(call.x))
    return FoundCall(number, call.kind, call.module, call.weighted, call.activation, call.axis, call.x_axis, passed)


def _found_loss(call: LossCall, after: str | None) -> FoundLoss:
    options = getattr(call.loss, "_fn_kwargs", {})
    from_logits = bool(options.get("from_logits", False))
    kind = loss_kind(call.loss, from_logits=False)
    if not (from_logits and _are_probabilities(call, kind)):
        kind = loss_kind(call.loss, from_logits=from_logits)
    labels = "sparse" in str(getattr(getattr(call.loss, "fn", None), "__name__", ""))
    axis, ignored = int(options.get("axis", -1)), options.get("ignore_class")
    return FoundLoss(kind, after, axis, labels, ignored, call.counts_all and ignored is None)


def _are_probabilities(call: LossCall, kind: str) -> bool:
    """TensorFlow's crossentropies look for the softmax or sigmoid that made their outputs and take what went into it,
    so that `from_logits=True` does no harm (keras/src/backend/tensorflow/nn.py, `_get_logits`)."""
    if keras.backend.standardize_dtype(call.y_pred.dtype) != call.loss.dtype:
        return False
    made_by = getattr(getattr(call.y_pred, "op", None), "type", None)
    return hasattr(call.y_pred, "_keras_logits") or (made_by is not None and made_by == _TO_PROBABILITIES.get(kind))


def _size(x: Any) -> int:
    return math.prod(int(n or 1) for n in x.shape)
