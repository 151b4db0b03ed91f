"""All hooks into optax."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import optax

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches
from .._series import Hub
from ..jax._watch import watch
from ._guards import Guards
from ._losses import Given, LossReader
from ._measure import Layout, measure
from ._optimizers import Optimizer, Optimizers
from ._pieces import is_optimizer, pieces_of
from ._twins import first_twins
from ._updates import Call, Updates
from ._weights import Applications, Weights


class OptaxWatch:
    def __init__(self, session: Session) -> None:
        self._session = session
        self._jax = watch(session)
        self._tracing = self._jax.tracing
        self._hub = Hub.of(session)
        self._guard = Guard(session, "optax")
        self._patches = Patches()
        self._optimizers = Optimizers()
        self._given: Given | None = None
        self._losses = LossReader(self._guard, self._tracing, self._loss_arrived, self._say_hidden)
        self._now = threading.local()
        self._guards = Guards(session.policies, self._tracing, self._hub.unseen)
        self._applications = Applications(self._guard, self._applied, self._guards.apply)
        self._updates = Updates(self._guard, self._seen, self._begun, self._guards)

    def attach(self) -> None:
        self._session.describe(optax={"version": optax.__version__})
        self._updates.attach(self._patches)
        self._losses.attach(self._patches)
        self._applications.attach(self._patches)

    def detach(self) -> None:
        """Take every hook away again."""
        self._tracing.fetch()
        self._patches.undo()

    def _seen(self, call: Call) -> None:
        """An update, in the trace in which it is called, or executed."""
        self._hub.unseen(
            "layers in JAX",
            "Outputs of layers and their gradients are not measured in JAX: it has no modules of its own. Gradients, "
            "weights, updates and losses are.",
        )
        pieces = pieces_of(call.function)
        if not is_optimizer(pieces):
            return
        optimizer = self._optimizers.find(call, pieces)
        loss = self._jax.losses.traced()
        if loss is None:
            loss = call.extra.get("value", float("nan"))
        layout, vector = measure(call, pieces, loss, self._tracing)
        self._now.weights = weights = Weights(call, pieces, self._tracing)
        self._tracing.put(_Receiver(self, optimizer, layout, weights), vector)

    def _applied(self, params: Any, updates: Any, new: Any) -> None:
        weights = getattr(self._now, "weights", None)
        if weights is not None:
            weights.applied(params, updates, new)

    def _begun(self, function: Any, params: Any = None) -> None:
        """The script asks a transformation for a first state: a training begins."""
        self._tracing.fetch()
        self._tracing.restart()
        self._guards.begun(function, params)
        self._optimizers.begun(function, first_twins(params))

    def _loss_arrived(self, given: Given) -> None:
        self._given = given

    def _say_hidden(self) -> None:
        self._hub.unseen(
            "losses of single examples",
            "The loss function is called for single examples (jax.vmap), in a loop or a rematerialised part, from "
            "where its outputs and targets can't be handed out.",
        )

    def receive(self, optimizer: Optimizer, layout: Layout, weights: Weights, vector: Any) -> None:
        """The vector of one execution has arrived on the host."""
        reading = layout.read(vector)
        given, self._given = self._given, None
        if not reading.head["applied"]:
            if reading.head["sampled"]:
                self._tracing.restart()
            return
        samples = weights.measured() if reading.head["sampled"] else {}
        seconds, self._guard.seconds = self._guard.seconds, 0.0
        time = self._tracing.record_time - self._session.started
        losses = self._jax.losses.take()
        number = optimizer.add(self._hub, reading, samples, losses, time, seconds, self._guards.policies)
        if not reading.head["sampled"] or optimizer.series is None:
            return
        if given is not None:
            loss = losses[-1] if losses else reading.head["loss"]
            optimizer.series.loss(number, given.facts(optimizer.targets, loss))
        else:
            self._hub.unseen(
                "what the loss is made of",
                "No loss function of optax is called where the loss is differentiated: outputs, targets and the "
                "loss that chance would give are not known.",
            )


class _Receiver:
    """Takes the vectors of one trace of an update."""

    def __init__(self, watch: OptaxWatch, optimizer: Optimizer, layout: Layout, weights: Weights) -> None:
        self._watch = watch
        self._layout = layout
        self._weights = weights
        self.optimizer = optimizer

    @property
    def wanted(self) -> list[int]:
        """Places of the weights among the step's arguments."""
        return self._weights.wanted

    def __call__(self, vector: Any) -> None:
        self._watch.receive(self.optimizer, self._layout, self._weights, np.asarray(vector))
