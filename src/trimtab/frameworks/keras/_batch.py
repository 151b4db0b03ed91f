"""The batches of sampled steps in `fit` and `train_on_batch`, probed with the weights from before the step.

A backend's reader finds the moment: `frameworks/keras/_batch_jax.py`, `frameworks/keras/_batch_tensorflow.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import keras
from keras.src.optimizers.base_optimizer import BaseOptimizer

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches
from .._series import Hub, Series
from ._probe import MakePass, Probe, Rows
from ._probe_pass import Given, NotRepeatableError

UNSEEN = "outputs of layers"


class Seen(NamedTuple):
    """What a probe found, and of which step of its optimizer."""

    step: int
    modules: Rows
    loss: dict[str, Any] | None
    seconds: float


class Batches:
    """Probes every model that is trained. `series` finds that of an optimizer, None before its first step."""

    def __init__(self, session: Session, series: Callable[[Any], Series | None], make_pass: MakePass) -> None:
        self._hub = Hub.of(session)
        self._series, self._make_pass = series, make_pass
        self._probes: WeakKeyDictionary[Any, Probe | None] = WeakKeyDictionary()
        #: A trainer's step is under way.
        self.trains = False

    def wants(self, model: Any) -> bool:
        """No probe of it has failed."""
        return self._probes.get(model, True) is not None

    def next_step(self, model: Any) -> int:
        """The number of the step that `model` takes next, of those that have arrived."""
        series = self._series_of(model)
        return 0 if series is None else series.steps

    def look(self, model: Any, step: int, given: Given) -> Seen | None:
        """Probe `model`; one that cannot be is told of once, and left alone."""
        began = perf_counter()
        probe = self._probes.get(model) or Probe(self._make_pass, self._say_fewer)
        self._probes[model] = probe
        try:
            modules, loss = probe(model, given)
        except NotRepeatableError as reason:
            self._give_up(model, f"They are measured by a pass of the model outside of its training, but {reason}.")
            return None
        except Exception as error:
            why = f"A pass of the model outside of its training failed: {type(error).__name__}: {error}"
            self._give_up(model, why[:500])
            return None
        return Seen(step, modules, loss, perf_counter() - began)

    def send(self, model: Any, seen: Seen) -> None:
        """Record it, once the step has been taken."""
        series = self._series_of(model)
        if series is not None:
            series.modules(seen.step, seen.modules)
            if seen.loss is not None:
                series.loss(seen.step, seen.loss)

    def say_unseen(self, why: str) -> None:
        self._hub.unseen(UNSEEN, why)

    def _series_of(self, model: Any) -> Series | None:
        """That of its optimizer, or of the first in it that has one."""
        optimizers = [model.optimizer, *getattr(model.optimizer, "_inner_optimizers", ())]
        return next((series for o in optimizers if (series := self._series(o)) is not None), None)

    def _give_up(self, model: Any, why: str) -> None:
        self._probes[model] = None
        self.say_unseen(why)

    def _say_fewer(self, used: int, rows: int) -> None:
        why = f"The model is large: its outputs and losses are measured on the first {used} of {rows} rows of a batch."
        self._hub.unseen("rows of a batch", why)


class Loops:
    """Steps that no trainer takes: a script's own loop, whose batches are not looked at."""

    def __init__(self, guard: Guard, batches: Batches) -> None:
        self._batches = batches
        self._say = guard(self._say_unseen)
        self._said = False

    def attach(self, patches: Patches) -> None:
        original = BaseOptimizer.apply

        @functools.wraps(original)
        def apply(*args: Any, **kwargs: Any) -> Any:
            if not (self._said or self._batches.trains):
                self._said = True
                self._say()
            return original(*args, **kwargs)

        patches.replace(BaseOptimizer, "apply", apply)

    def _say_unseen(self) -> None:
        self._batches.say_unseen("The script takes steps in a loop of its own; only batches of `fit` are looked at.")


class Making:
    """Which trainer's training function is being made, so that those of its evaluation are left alone."""

    def __init__(self, owner: Any, patches: Patches) -> None:
        self._trainers: list[Any] = []
        original, trainers = owner.make_train_function, self._trainers

        @functools.wraps(original)
        def make_train_function(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            trainers.append(trainer)
            try:
                return original(trainer, *args, **kwargs)
            finally:
                trainers.pop()

        patches.replace(owner, "make_train_function", make_train_function)

    def is_of(self, trainer: Any) -> bool:
        return any(maker is trainer for maker in self._trainers)


def loss_scale(model: Any, value: Callable[[Any], Any]) -> float:
    """The factor by which the model's optimizer multiplies a loss; `value` reads a variable."""
    optimizer = model.optimizer
    if (dynamic := getattr(optimizer, "dynamic_scale", None)) is not None:
        return float(value(dynamic))
    return float(getattr(optimizer, "loss_scale_factor", None) or 1.0)


def given_of(values: Sequence[Any], scale: float, data: Any) -> Given:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    return Given(values, keras.ops.convert_to_tensor(scale, dtype="float32"), x, y, sample_weight)


def read_batches(
    session: Session, guard: Guard, patches: Patches, tracing: Any, series: Callable[[Any], Series | None]
) -> None:
    """Have the sampled steps of this process's backend looked at; `tracing` is the backend's own."""
    if keras.backend.backend() == "jax":
        from ._batch_jax import JaxBatches
        from ._probe_jax import JaxPass

        batches = Batches(session, series, JaxPass)
        JaxBatches(guard, tracing, batches).attach(patches)
    else:
        from ._batch_tensorflow import TensorFlowBatches
        from ._probe_tensorflow import TensorFlowPass

        batches = Batches(session, series, TensorFlowPass)
        TensorFlowBatches(guard, tracing, batches).attach(patches)
    Loops(guard, batches).attach(patches)
