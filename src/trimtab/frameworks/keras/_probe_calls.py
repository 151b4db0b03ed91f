"""Sees the calls of layers and losses in a forward pass that is traced.

In place only while a trace of ours is under way, and for its thread alone.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from keras.src import backend
from keras.src.losses.loss import Loss

from .._patches import Patches
from ._probe_graph import MOVE, OTHER, WEIGHTED
from ._probe_kinds import (
    ACTIVATIONS,
    PASSING,
    activation_name,
    activation_of,
    is_weighted,
    kind_of,
)

MAX_CALLS = 512
Tap = Callable[[int, Any], Any]


@dataclass(frozen=True, eq=False)
class Call:
    """A row of the table `modules` to be: what was called, and its tensors. Features are on `axis` of `y`, on `x_axis`
    of `x`, the first input of a weighted layer."""

    kind: str
    module: str
    weighted: bool
    activation: str | None
    y: Any
    axis: int
    x: Any = None
    x_axis: int = -1


@dataclass(frozen=True, eq=False)
class LossCall:
    loss: Any
    y_true: Any
    y_pred: Any
    value: Any
    #: Every row counts alike: no weights, no mask.
    counts_all: bool


class Calls:
    """While entered, gathers the calls of layers that no other layer's call lies in, or that own weights.

    `here` answers with something equal as long as the same trace is under way: what is called inside a loop, a
    branch or a recomputation cannot be handed out, and the layer around it stands for it. `tap` gets each output with
    its number and answers with what is used in its place.
    """

    def __init__(self, names: dict[int, str], here: Callable[[], Any], tap: Tap = lambda number, y: y) -> None:
        self.calls: list[Call] = []
        self.losses: list[LossCall] = []
        #: (result, kind, input) of what layers and activations do.
        self.links: list[tuple[Any, str, Any]] = []
        self._names, self._tap, self._here = names, tap, here
        self._patches = Patches()
        self._axes: dict[int, int] = {}
        self._deep = 0

    def __enter__(self) -> Calls:
        self._thread, self._trace = threading.get_ident(), self._here()
        replace = self._patches.replace
        replace(keras.Layer, "__call__", self._watched(keras.Layer.__call__, self._call))
        replace(Loss, "__call__", self._watched(Loss.__call__, self._call_loss))
        for name, function in list(vars(backend.nn).items()):
            if callable(function) and (activation := activation_name(function)) is not None:
                replace(backend.nn, name, self._watched(function, self._activate(activation)))
        return self

    def __exit__(self, *_: Any) -> None:
        self._patches.undo()

    def _watched(self, original: Any, watch: Any) -> Any:
        @functools.wraps(original)
        def called(*args: Any, **kwargs: Any) -> Any:
            return watch(original, *args, **kwargs) if self._sees() else original(*args, **kwargs)

        return called

    def _sees(self) -> bool:
        mine = threading.get_ident() == self._thread and self._here() == self._trace
        return mine and not self._deep and len(self.calls) < MAX_CALLS

    def _call(self, original: Any, layer: Any, *args: Any, **kwargs: Any) -> Any:
        before, x = len(self.calls), first_tensor((args, kwargs))
        with self._split(layer, x) as activated, self._closed(isinstance(layer, keras.layers.RNN)):
            output = original(layer, *args, **kwargs)
        y, own = first_tensor(output), own_weights(layer)
        if (len(self.calls) > before and not own) or not is_float(y):
            return output
        if activated:
            name = activation_name(layer.activation) or activation_of(layer.activation)
            new = self._add(ACTIVATIONS.get(name or "", _class_of(layer.activation)), layer, y, name, of="/activation")
        else:
            new = self._add_layer(layer, x, y, own or layer.weights)
        return output if new is y else replaced(output, y, new)

    @contextmanager
    def _closed(self, closed: bool) -> Iterator[None]:
        """What is called meanwhile is not seen."""
        self._deep += closed
        try:
            yield
        finally:
            self._deep -= closed

    @contextmanager
    def _split(self, layer: Any, x: Any) -> Iterator[list[Any]]:
        """Keras' own layers apply their `activation` to what they have weighed: seen apart, as two calls. Not empty
        afterwards where that was seen."""
        activation = vars(layer).get("activation")
        seen: list[Any] = []
        if activation in (None, keras.activations.linear) or not _is_applied_last(layer):
            yield seen
            return

        def watched(y: Any) -> Any:
            if seen or not self._sees() or not is_float(y):
                return activation(y)
            y = self._add_layer(layer, x, y, own_weights(layer))
            with self._closed(True):
                out = activation(y)
            seen.append(out)
            if (name := activation_name(activation) or activation_of(activation)) is not None:
                self.links.append((out, name, y))
            return out

        vars(layer)["activation"] = watched
        try:
            yield seen
        finally:
            vars(layer)["activation"] = activation

    def _add_layer(self, layer: Any, x: Any, y: Any, weights: list[Any]) -> Any:
        name, weighted = activation_of(layer), is_weighted(layer, weights)
        given = x if weighted and is_float(x) and not isinstance(layer, keras.layers.Embedding) else None
        new = self._add(kind_of(layer), layer, y, name, x=given, weighted=weighted, before=x)
        if x is not None and is_keras_own(layer):
            link = WEIGHTED if weighted and own_weights(layer) else name or PASSING.get(type(layer).__name__, OTHER)
            self.links.append((y, link, x))
        return new

    def _add(
        self,
        kind: str,
        layer: Any,
        y: Any,
        activation: str | None,
        *,
        x: Any = None,
        weighted: bool = False,
        before: Any = None,
        of: str = "",
    ) -> Any:
        axis = self._axis(layer, y, before, weighted)
        x_axis = -1 if x is None else _channels(layer, x) or -1
        name = self._names.get(id(layer)) or str(layer.name)
        number = len(self.calls)
        self.calls.append(Call(kind, name + of, weighted, activation, y, axis, x, x_axis))
        new = self._tap(number, y)
        if new is not y:
            backend.set_keras_mask(new, backend.get_keras_mask(y))
            self.links.append((new, MOVE, y))
        self._axes[id(y)] = self._axes[id(new)] = axis
        return new

    def _axis(self, layer: Any, y: Any, before: Any, weighted: bool) -> int:
        """The axis of the features of an output; a layer that has none of its own leaves them where they were."""
        if (own := _channels(layer, y)) is not None:
            return own
        if weighted or before is None or len(before.shape) != len(y.shape):
            return -1
        return self._axes.get(id(before), -1)

    def _activate(self, name: str) -> Any:
        """Of functions called without a layer."""

        def call(original: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
            y = original(x, *args, **kwargs)
            self.links.append((y, name, x))
            return y

        return call

    def _call_loss(self, original: Any, loss: Any, y_true: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(loss, y_true, y_pred, *args, **kwargs)
        if all(map(backend.is_tensor, (y_true, y_pred, value))):
            masks = (*args, *kwargs.values(), *map(backend.get_keras_mask, (y_true, y_pred)))
            counts_all = all(mask is None for mask in masks)
            self.losses.append(LossCall(loss, y_true, y_pred, value, counts_all))
        return value


def first_tensor(value: Any) -> Any:
    """The first tensor of a structure; None where there is none."""
    if backend.is_tensor(value):
        return value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return next((found for item in value if (found := first_tensor(item)) is not None), None)
    return None


def replaced(value: Any, old: Any, new: Any) -> Any:
    return keras.tree.map_structure(lambda item: new if item is old else item, value)


def is_dense(x: Any) -> bool:
    return backend.is_tensor(x) and not any(hasattr(x, form) for form in ("dense_shape", "row_splits", "todense"))


def is_float(x: Any) -> bool:
    """A dense tensor of floats with at least one axis and one entry."""
    if not is_dense(x) or not backend.is_float_dtype(backend.standardize_dtype(x.dtype)):
        return False
    return len(x.shape) > 0 and 0 not in tuple(x.shape)


def own_weights(layer: Any) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def is_keras_own(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.")


def _is_applied_last(layer: Any) -> bool:
    """So it is in Keras' own layers with an `activation`, but for the cells of recurrent ones."""
    return bool(own_weights(layer)) and is_keras_own(layer) and not hasattr(layer, "state_size")


def _class_of(activation: Any) -> str:
    return type(activation).__name__ if isinstance(activation, keras.Layer) else "Activation"


def _channels(layer: Any, x: Any) -> int | None:
    """The axis of an image's channels where the layer says so."""
    if (form := getattr(layer, "data_format", None)) is not None and len(x.shape) > 2:
        return 1 if form == "channels_first" else -1
    axis = getattr(layer, "axis", None)
    return axis if isinstance(axis, int) and "Norm" in type(layer).__name__ else None
