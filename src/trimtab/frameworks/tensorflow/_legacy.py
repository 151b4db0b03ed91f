"""Keras 2 (`tf_keras`): the steps of its optimizers measured inside the step, traced or not, and its metrics."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from weakref import ref

import tensorflow as tf
import tf_keras
from tf_keras.src.callbacks import CallbackList

from .. import _facts
from .._guard import Guard
from .._outbox import Session
from .._patches import Patches
from .._series import Hub
from ..keras import _settings
from ..keras._layout import HEAD, Layout
from ..keras._measures import QUANTITIES, WITH_MOMENTS, Measures, kept
from ..keras._metrics import MetricReader
from ..keras._names import roots_of, variable_names
from ..keras._receiver import Receiver, Watched
from ._internals import stop_recording
from ._legacy_optimizers import CLASSES, Core
from ._watch import TensorFlowWatch

_OPS = SimpleNamespace(
    abs=tf.abs,
    any=tf.reduce_any,
    cast=tf.cast,
    concatenate=lambda tensors: tf.concat(tensors, 0),
    convert_to_tensor=tf.convert_to_tensor,
    equal=tf.equal,
    isfinite=tf.math.is_finite,
    isnan=tf.math.is_nan,
    logical_and=tf.logical_and,
    logical_not=tf.logical_not,
    max=tf.reduce_max,
    maximum=tf.maximum,
    mean=tf.reduce_mean,
    not_equal=tf.not_equal,
    sqrt=tf.sqrt,
    square=tf.square,
    stack=tf.stack,
    subtract=tf.subtract,
    sum=tf.reduce_sum,
    where=tf.where,
)


@dataclass
class Begun:
    """A step that has begun: what of it must be read before anything is changed."""

    core: Core
    watched: Watched
    grads: list[Any]
    variables: list[Any]
    weights: list[Any]
    scale: Any
    rate: Any
    loss: Any


class LegacyKerasWatch:
    """All hooks into Keras 2. The outermost `apply_gradients` is the step."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._hub = Hub.of(session)
        self._guard = Guard(session, "Keras 2")
        self._patches = Patches()
        tensorflow = TensorFlowWatch.of(session)
        self._tracing, self._losses = tensorflow.tracing, tensorflow.losses
        self._measures = Measures(_OPS, self._tracing.norms)
        self._found: dict[int, Watched] = {}
        self._under_way = threading.local()

    def attach(self) -> None:
        self._session.describe(keras={"version": tf_keras.__version__, "backend": "tensorflow"})
        self._before, self._after = self._guard(self._begin_step), self._guard(self._end_step)
        for owner in CLASSES:
            self._patches.replace(owner, "apply_gradients", self._watched(vars(owner)["apply_gradients"]))
        MetricReader(self._session, self._guard, CallbackList, self._tracing.fetch).attach(self._patches)

    def detach(self) -> None:
        self._patches.undo()

    def _watched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        under_way = self._under_way

        @functools.wraps(original)
        def apply_gradients(optimizer: Any, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
            if getattr(under_way, "depth", 0):
                return original(optimizer, grads_and_vars, *args, **kwargs)
            pairs = list(grads_and_vars)
            begun = self._before(optimizer, pairs) if pairs else None
            under_way.depth = 1
            try:
                result = original(optimizer, pairs, *args, **kwargs)
            finally:
                under_way.depth = 0
            if begun is not None:
                self._after(begun)
            return result

        return apply_gradients

    def _begin_step(self, optimizer: Any, pairs: list[tuple[Any, Any]]) -> Begun | None:
        present = [(g, v) for g, v in pairs if g is not None]
        if not present or not self._tracing.watches():
            return None
        grads, variables = [g for g, _ in present], [v for _, v in present]
        core = Core.of(optimizer)
        with stop_recording():
            core.build([v for _, v in pairs])
            return Begun(
                core=core,
                watched=self._find(optimizer, [v for _, v in pairs]),
                grads=grads,
                variables=variables,
                weights=kept(variables, lambda v: v.read_value()),
                scale=core.loss_scale(),
                rate=core.learning_rate(),
                loss=self._losses.of_step(grads, variables),
            )

    def _end_step(self, begun: Begun) -> None:
        core, watched = begun.core, begun.watched
        with stop_recording():
            moments = core.moments(begun.variables)
            clipnorm = core.limit("clipnorm")
            global_clipnorm = None if clipnorm else core.limit("global_clipnorm")
            layout = Layout(
                names=tuple(watched.names[id(v)] for v in begun.variables),
                quantities=QUANTITIES if moments is None else WITH_MOMENTS,
                has_loss=begun.loss is not None,
                measures_applied=bool(not clipnorm and not global_clipnorm and core.limit("clipvalue")),
                clipnorm=clipnorm,
                global_clipnorm=global_clipnorm,
                withholds=core.scaler is not None,
            )
            receiver = watched.receivers.get(layout)
            if receiver is None:
                receiver = watched.receivers[layout] = Receiver(
                    watched, layout, self._guard, list, self._tracing.restart
                )
            self._tracing.emit(receiver, self._vector(begun, layout, moments))

    def _vector(self, begun: Begun, layout: Layout, moments: Any) -> Any:
        """Keras 2 hands over the gradients without the loss scaler's factor, which the layout wants in them."""
        loss, passes = begun.loss or (math.nan, 0.0)
        head = {
            "lr": begun.rate,
            "loss": loss,
            "passes": passes,
            "loss_scale": begun.scale,
            "sampled": self._tracing.is_sampled(),
            "applied": 1.0,
        }
        parts = [tf.stack([tf.cast(head[name], tf.float32) for name in HEAD])]
        parts.append(self._tracing.norms(begun.grads) * begun.scale)
        applied, bound = begun.grads, begun.core.limit("clipvalue")
        if layout.measures_applied and bound is not None:
            applied = [tf.clip_by_value(tf.convert_to_tensor(g), -bound, bound) for g in begun.grads]
            parts.append(self._tracing.norms(applied) * begun.scale)

        def measure() -> Any:
            after = [v.read_value() for v in begun.variables]
            return self._measures.measure(begun.grads, applied, begun.weights, after, moments)

        return tf.concat([*parts, self._tracing.when_sampled(measure, layout.sample_size)], 0)

    def _find(self, optimizer: Any, variables: list[Any]) -> Watched:
        found = self._found.get(id(optimizer))
        if found is None or found.optimizer() is not optimizer:
            found = self._found[id(optimizer)] = self._begin(optimizer, variables)
        if any(id(v) not in found.names for v in variables):
            found.names |= dict(zip(map(id, variables), variable_names(variables, []), strict=True))
        return found

    def _begin(self, optimizer: Any, variables: list[Any]) -> Watched:
        """A training begins: its first steps are sampled."""
        self._tracing.restart()
        self._hub.unseen(
            "layers of Keras 2",
            "Keras 2 (tf_keras) is used: outputs of layers, and what the loss function is given, are not measured. "
            "Gradients, weights, updates and losses are.",
        )
        core, roots = Core.of(optimizer), roots_of(variables, tf_keras.layers.Layer)
        names = variable_names(variables, roots)
        info = {
            "class": _settings.optimizer_class(core.optimizer),
            "groups": [_settings.in_common_words(core.config()) | _settings.loss_scale_settings(optimizer)],
            "tensors": _settings.tensors(variables, names),
            **_settings.census(roots),
        }
        return Watched(
            optimizer=ref(optimizer),
            series=self._hub.series(info),
            names=dict(zip(map(id, variables), names, strict=True)),
            roots=[ref(root) for root in roots],
            at_start=dict(zip(names, map(_twin_units, variables), strict=True)),
        )


def _twin_units(variable: Any) -> float | None:
    """Share of a weight's units that begin as copies of another one."""
    if len(variable.shape) < 2:
        return None
    with tf.init_scope():
        weight = variable.numpy()
    is_table = variable.name.rpartition("/")[2].startswith("embeddings")
    share: float | None = _facts.twin_units(weight, unit_axis=0 if is_table else -1)
    return share
