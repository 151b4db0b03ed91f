"""Keras' steps on TensorFlow and JAX: measured inside the step, traced or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, ref

import keras
from keras import ops
from keras.src import backend
from keras.src.optimizers.schedules.learning_rate_schedule import LearningRateSchedule

from .._guard import Guard
from .._outbox import Session
from .._series import Hub, Series
from .._tracing import Tracing
from . import _settings
from ._apply import core_of
from ._given import given_to
from ._guarding import Decided
from ._guards import Guards
from ._layout import HEAD, Layout
from ._loss import Losses
from ._measures import OF_GRADIENTS, QUANTITIES, WITH_MOMENTS, Measures, kept
from ._names import roots_of, variable_names
from ._receiver import Receiver, Watched
from ._twins import FirstWeights
from ._values import current, moments_of, unrecorded

if TYPE_CHECKING:
    from ._jax_ends import JaxEnds


HALF_PRECISION = ("float16", "bfloat16")


@dataclass
class Begun:
    """A step that has begun: what of it must be read before anything is changed."""

    optimizer: Any
    grads: list[Any]  # as the optimizer applies them but for its own clip and the loss scaler's factor
    norms: Any
    decided: Decided | None  # None: no policy acts
    variables: list[Any]
    weights: list[Any] | None  # None: not sampled
    scale: Any
    rate: Any
    applied: Any
    loss: tuple[Any, Any] | None  # the mean, and of how many backward passes
    ends: JaxEnds | None  # where the weights are read outside of the step
    moments: list[Any]


class TracedSteps:
    """Measures the steps of all optimizers; what it measures comes back in the order of the steps."""

    def __init__(
        self,
        session: Session,
        guard: Guard,
        tracing: Tracing,
        losses: Losses,
        first_weights: FirstWeights,
        guards: Guards,
    ) -> None:
        self._hub = Hub.of(session)
        self._guard = guard
        self._tracing = tracing
        self._losses = losses
        self._first_weights = first_weights
        self._guards = guards
        self._measures = Measures(ops, tracing.norms)
        self._found: dict[int, Watched] = {}
        self._trained: WeakValueDictionary[int, Any] = WeakValueDictionary()
        self._hub.at_flush(tracing.fetch)

    def series_of(self, optimizer: Any) -> Series | None:
        """None before its first step has begun."""
        found = self._found.get(id(optimizer))
        return found.series if found is not None and found.optimizer() is optimizer else None

    def made(self, optimizer: Any) -> None:
        """A new optimizer: the step to come is the first of a training."""
        self._tracing.restart(optimizer.gradient_accumulation_steps or 1)
        self._guards.made(optimizer)

    def before(self, optimizer: Any, grads: list[Any], variables: list[Any] | None) -> Begun | None:
        if not _can_be_watched(self._tracing):
            self._guards.not_watched()
            return None
        _build(optimizer, variables)
        with self._guards.or_say_unguarded(), unrecorded():
            return self._begin_step(optimizer, grads, variables)

    def take(self, begun: Begun, call: Callable[[list[Any]], Any], grads: list[Any]) -> Any:
        return call(grads) if begun.decided is None else self._guards.take(begun.decided, call, grads)

    def settle(self, begun: Begun) -> None:
        if begun.decided is not None:
            self._guards.settle(begun.decided)

    def after(self, begun: Begun) -> None:
        with unrecorded():
            self._end_step(begun)

    def _begin_step(self, optimizer: Any, grads: list[Any], variables: list[Any] | None) -> Begun:
        given = given_to(optimizer, grads, variables)
        core, held = given.core, given.variables
        flag = self._tracing.is_sampled()
        quiet = isinstance(flag, float) and not flag
        ends = self._ends(core, held)
        measured = given.grads if ends is not None else self._tracing.apart(given.grads)
        norms = self._tracing.norms(measured)
        return Begun(
            optimizer=optimizer,
            grads=measured,
            norms=norms,
            decided=self._guards.decide(given, norms),
            variables=held,
            weights=None if quiet or ends is not None else kept(held, current),
            scale=given.scale,
            rate=_rate(core),
            applied=given.applied,
            loss=self._losses.of_step(grads, variables or core._trainable_variables),
            ends=ends,
            moments=[] if ends is None else [current(v) for v in moments_of(core, held)],
        )

    def _ends(self, optimizer: Any, variables: list[Any]) -> JaxEnds | None:
        if backend.backend() != "jax":
            return None
        from ._jax_ends import JaxEnds

        ends = JaxEnds(self._tracing, optimizer, variables)  # type: ignore[arg-type]
        return ends if ends.are_known else None

    def _end_step(self, begun: Begun) -> None:
        core = core_of(begun.optimizer)
        watched = self._find(begun.optimizer)
        by_value = bool(not core.clipnorm and not core.global_clipnorm and core.clipvalue and core.clipvalue > 0)
        moments = None if begun.ends is not None else _moments(core, begun.variables)
        quantities = QUANTITIES if moments is None else WITH_MOMENTS
        layout = Layout(
            names=tuple(watched.names[id(v)] for v in begun.variables),
            quantities=quantities if begun.ends is None else _of_gradients(begun.variables),
            has_loss=begun.loss is not None,
            measures_applied=by_value,
            clipnorm=_positive(core.clipnorm),
            global_clipnorm=None if core.clipnorm else _positive(core.global_clipnorm),
            withholds=begun.optimizer is not core,
            policies=0 if begun.decided is None else begun.decided.acts.shape[0] // 2,
            changes=begun.decided is not None and begun.decided.norms is not None,
        )
        receiver = watched.receivers.get(layout)
        if receiver is None:
            receiver = watched.receivers[layout] = Receiver(
                watched, layout, self._guard, self._losses.arrived, self._tracing.restart
            )
        vector = self._vector(begun, layout, moments, core.clipvalue)
        if begun.ends is None:
            self._tracing.emit(receiver, vector)
        else:
            self._emit_with_ends(receiver, begun.ends, core, begun, vector)

    def _emit_with_ends(self, receiver: Receiver, ends: JaxEnds, core: Any, begun: Begun, vector: Any) -> None:
        from ._jax_ends import ReceiverWithEnds

        ends.end(core, begun.variables, begun.moments)
        self._tracing.put(ReceiverWithEnds(receiver, ends), vector)  # type: ignore[attr-defined]

    def _vector(self, begun: Begun, layout: Layout, moments: Any, limit: float | None) -> Any:
        loss, passes = begun.loss or (float("nan"), 0.0)
        head = {
            "lr": begun.rate,
            "loss": loss,
            "passes": passes,
            "loss_scale": begun.scale,
            "sampled": self._tracing.is_sampled(),
            "applied": begun.applied,
        }
        parts = [ops.stack([float32(head[name]) for name in HEAD]), begun.norms]
        if begun.decided is not None:
            parts += [begun.decided.acts] if begun.decided.norms is None else [begun.decided.acts, begun.decided.norms]

        def applied() -> list[Any]:
            left = self._guards.left_of(begun.grads, begun.scale, begun.decided)
            return [_clipped_by_value(g, limit, begun.scale) for g in left] if layout.measures_applied else left

        if layout.measures_applied:
            parts.append(self._tracing.norms(applied()))
        parts.append(self._samples(begun, layout, applied, moments))
        return ops.concatenate(parts)

    def _samples(self, begun: Begun, layout: Layout, applied: Callable[[], list[Any]], moments: Any) -> Any:
        before = begun.weights
        if begun.ends is not None:
            return self._of_gradients(begun, layout, applied)
        if before is None:
            return ops.full((layout.sample_size,), float("nan"), dtype="float32")
        after = self._tracing.apart([current(v) for v in begun.variables])

        def measured() -> Any:
            if isinstance(begun.applied, float):
                return values()
            return ops.cond(begun.applied, values, lambda: ops.zeros((layout.sample_size,), dtype="float32"))

        def values() -> Any:
            raw = [_divided(g, begun.scale) for g in begun.grads]
            given = [_divided(g, begun.scale) for g in applied()] if layout.is_changed else raw
            return self._measures.measure(raw, given, before, after, None if moments is None else moments())

        return self._tracing.when_sampled(measured, layout.sample_size)

    def _of_gradients(self, begun: Begun, layout: Layout, applied: Callable[[], list[Any]]) -> Any:
        if not layout.quantities:
            return ops.zeros((0,), dtype="float32")
        grads = self._tracing.apart(begun.grads)
        given = self._tracing.apart(applied()) if layout.is_changed else grads

        def measured() -> Any:
            raw = [_divided(g, begun.scale) for g in grads]
            return self._measures.of_gradients(
                raw, raw if given is grads else [_divided(g, begun.scale) for g in given]
            )

        return self._tracing.when_sampled(measured, layout.sample_size)

    def _find(self, optimizer: Any) -> Watched:
        found = self._found.get(id(optimizer))
        if found is None or found.optimizer() is not optimizer:
            found = self._found[id(optimizer)] = self._begin(optimizer)
        return found

    def _begin(self, optimizer: Any) -> Watched:
        core = core_of(optimizer)
        variables = list(core._trainable_variables)
        roots = roots_of(variables, keras.Layer)
        names = variable_names(variables, roots)
        group = _settings.settings(core) | _settings.loss_scale_settings(optimizer)
        info = {
            "class": _settings.optimizer_class(core),
            "groups": [group],
            "tensors": _settings.tensors(variables, names),
            **_settings.census(roots),
        }
        step_guard = self._guards.of(core)
        self._trained.update((id(v), v) for v in variables)
        watched = Watched(
            optimizer=ref(optimizer),
            series=self._hub.series(info, None if step_guard is None else step_guard.log),
            names={id(v): name for v, name in zip(variables, names, strict=True)},
            roots=[ref(root) for root in roots],
            describe=self._hub.describe,
            at_start=dict(zip(names, self._first_weights.twin_units(core) or [], strict=False)),
        )
        self._note_untrained(watched)
        return watched

    def _note_untrained(self, new: Watched) -> None:
        """Variables of the models that are in no optimizer, as far as is known."""
        for watched in (*self._found.values(), new):
            roots = [root for r in watched.roots if (root := r()) is not None]
            variables = [v for root in roots for v in root.trainable_variables]
            names = variable_names(variables, roots)
            left = [name for v, name in zip(variables, names, strict=True) if id(v) not in self._trained]
            watched.series.info["untrained"] = left
        self._hub.describe()


def float32(x: Any) -> Any:
    return ops.cast(x, "float32")


def _of_gradients(variables: list[Any]) -> tuple[str, ...]:
    """What is measured of the gradients, in a branch, where the weights are read outside of the step: on a CPU that
    took half as long as a dense network's step, so that it is done only where updates may be lost in rounding."""
    return OF_GRADIENTS if any(backend.standardize_dtype(v.dtype) in HALF_PRECISION for v in variables) else ()


def _can_be_watched(tracing: Any) -> bool:
    """Not so where what is traced goes into a SavedModel, or is run by several replicas."""
    watches = getattr(tracing, "watches", None)
    return watches is None or bool(watches())


def _build(optimizer: Any, variables: list[Any] | None) -> None:
    """As `apply` would at once: what the step keeps must be there before it can be read."""
    if not optimizer.built and variables is not None:
        with backend.name_scope(optimizer.name, caller=optimizer):
            optimizer.build(variables)
        optimizer.built = True


def _rate(optimizer: Any) -> Any:
    rate = optimizer._learning_rate
    if isinstance(rate, LearningRateSchedule):
        return rate(optimizer._iterations)
    if callable(rate):
        return float("nan")
    return current(rate)


def _moments(optimizer: Any, variables: list[Any]) -> Callable[[], list[Any]] | None:
    """What gives (bias-corrected second moment after the step, its floor) of each variable; None without such."""
    held, beta = getattr(optimizer, "_velocities", None), getattr(optimizer, "beta_2", None)
    if not held or not isinstance(beta, int | float):
        return None
    floor = float(getattr(optimizer, "epsilon", 1e-7)) ** 2
    found = [held[optimizer._get_variable_index(v)] for v in variables]
    values, taken = [None if v is None else current(v) for v in found], float32(optimizer.iterations)

    def corrected() -> list[Any]:
        correction = ops.maximum(1.0 - ops.power(float32(beta), taken), 1e-7)
        return [None if v is None else (float32(v) / correction, floor) for v in values]

    return corrected


def _clipped_by_value(gradient: Any, limit: float | None, scale: Any) -> Any:
    bound = float32(scale) * float32(limit)
    return ops.clip(float32(ops.convert_to_tensor(gradient)), -bound, bound)


def _divided(gradient: Any, scale: Any) -> Any:
    if isinstance(scale, float) and scale == 1.0:
        return gradient
    return ops.divide(float32(ops.convert_to_tensor(gradient)), float32(scale))


def _positive(limit: float | None) -> float | None:
    return float(limit) if limit is not None and limit > 0 else None
