"""Which updates are those of one optimizer, and its series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import jax.numpy as jnp

from .._facts import Targets
from .._guarding import GuardLog
from .._series import Hub, Series, Step, fan_in_of
from ._measure import Reading
from ._names import named_leaves
from ._pieces import Piece, class_of, settings_of
from ._updates import Call
from ._weights import Samples

# Of the first weights, the share of units that equal another, by the tensor's name.
Twins = dict[str, float | None]


class Optimizer:
    """One training's: the transformation that made its updates, and its steps."""

    def __init__(self, function: Any, names: tuple[str, ...], info: dict[str, Any]) -> None:
        self.names = names
        self.info = info
        self.series: Series | None = None
        self.twins: Twins = {}
        #: All targets of its losses so far.
        self.targets: dict[str, Targets] = {}
        self._function = ref(function)
        #: The script has asked for a first state since: the next step begins another training.
        self.begun_again = False
        self._weight_norms: Sequence[float | None] = ()

    def is_of(self, function: Any) -> bool:
        return self._function() is function

    def follow(self, function: Any) -> None:
        """The same transformation, made anew."""
        self._function = ref(function)

    def add(
        self,
        hub: Hub,
        reading: Reading,
        samples: Samples,
        losses: list[float],
        time: float,
        seconds: float,
        policies: tuple[str, ...],
    ) -> int:
        """Record a step; its number. `policies`: those that guard it."""
        if self.begun_again:
            self.series, self.begun_again = None, False
        if self.series is None:
            self.info["groups"][0]["lr"] = _known(reading.head["lr"])
            self.series = hub.series(self.info, GuardLog(policies, self._has_lost_weights) if policies else None)
        head = reading.head
        self._weight_norms = samples.get("weight_norm", self._weight_norms)
        if head["sampled"] and not self.series.steps and self.twins:
            samples["twin_units"] = [self.twins.get(name) for name in self.names]
        if not losses and not math.isnan(head["loss"]):
            losses = [head["loss"]]
        return self.series.add(
            Step(
                names=self.names,
                norms=reading.applied,
                raw=None if reading.applied is reading.raw else reading.raw,
                lr=_known(head["lr"]),
                lr_max=_known(head["lr_max"]),
                loss=sum(losses) / len(losses) if losses else None,
                backwards=len(losses),
                skipped=bool(head["skipped"]) or (reading.acts is not None and reading.acts.skip),
                acts=reading.acts,
                sampled=bool(head["sampled"]),
                time=time,
                watch_seconds=seconds,
                samples=samples,
            )
        )

    def _has_lost_weights(self) -> bool:
        """When they were last sampled."""
        return any(norm is not None and not math.isfinite(norm) for norm in self._weight_norms)


class Optimizers:
    """All of a process."""

    def __init__(self) -> None:
        self._every: list[Optimizer] = []
        self._begun: WeakKeyDictionary[Any, Twins] = WeakKeyDictionary()

    def find(self, call: Call, pieces: list[Piece]) -> Optimizer:
        """That of an update.

        A transformation that was not asked for a first state continues the last one with the same tensors: scripts
        make it anew for another learning rate, or in every trace of the step.
        """
        info = describe(call, pieces)
        names = tuple(tensor["name"] for tensor in info["tensors"])
        alike = [each for each in self._every if each.names == names]
        for each in alike:
            if each.is_of(call.function):
                return each
        if alike and call.function not in self._begun:
            alike[-1].follow(call.function)
            return alike[-1]
        new = Optimizer(call.function, names, info)
        new.twins = self._begun.get(call.function, {})
        self._every.append(new)
        return new

    def begun(self, function: Any, twins: Twins) -> None:
        """The script asks the transformation `function` for a first state: another training, if it has taken steps."""
        self._begun[function] = twins
        for each in self._every:
            if each.is_of(function) and each.series is not None:
                each.begun_again, each.twins = True, twins


def describe(call: Call, pieces: list[Piece]) -> dict[str, Any]:
    """The entry in run.json."""
    names, leaves = named_leaves(call.gradients)
    tensors = [
        {
            "name": name,
            "shape": list(jnp.shape(leaf)),
            "dtype": str(jnp.result_type(leaf)),
            "device": "",
            "trainable": True,
            **fan_in_of(name, jnp.shape(leaf)),
        }
        for name, leaf in zip(names, leaves, strict=True)
    ]
    return {"class": class_of(pieces), "groups": [settings_of(pieces)], "tensors": tensors, "model": ""}


def _known(number: float) -> Any:
    return None if math.isnan(number) else number
