"""Watches every Keras training of a process."""

from __future__ import annotations

import keras
from keras.src.callbacks.callback_list import CallbackList

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches
from .._series import Hub
from .._tracing import Tracing
from ._apply import ApplyHook
from ._batch import read_batches
from ._guards import Guards, hands_of
from ._loss import JaxLosses, Losses, TensorFlowLosses
from ._metrics import MetricReader
from ._old_spellings import OldSpellings
from ._traced import TracedSteps
from ._twins import FirstWeights
from ._validation_rows import ValidationRows


class KerasWatch:
    """All hooks into Keras."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._guard = Guard(session, "Keras")
        self._patches = Patches()

    def attach(self) -> None:
        """Begin to watch. Called once, when Keras has been imported."""
        backend = keras.backend.backend()
        self._session.describe(keras={"version": keras.__version__, "backend": backend})
        OldSpellings(self._session, self._guard).attach(self._patches)
        ValidationRows(self._session, self._guard).attach(self._patches)
        if backend == "torch":
            self._attach_to_torch()
        elif backend in ("tensorflow", "jax"):
            self._attach_to_traced(backend)

    def _attach_to_torch(self) -> None:
        from ..torch import watch_of

        if (watch := watch_of(self._session)) is not None:
            from ._torch_steps import TorchSteps

            ApplyHook(self._guard, self._patches, TorchSteps(watch, self._guard, self._patches)).attach()
            MetricReader(self._session, self._guard, CallbackList, lambda: None).attach(self._patches)

    def _attach_to_traced(self, backend: str) -> None:
        tracing, losses = self._of_backend(backend)
        first_weights = FirstWeights(self._guard, self._patches)
        self.guards = Guards(self._session.policies, hands_of(backend), Hub.of(self._session).unseen)
        self.guards.attach(self._patches)
        steps = TracedSteps(self._session, self._guard, tracing, losses, first_weights, self.guards)
        ApplyHook(self._guard, self._patches, steps).attach()
        read_batches(self._session, self._guard, self._patches, tracing, steps.series_of)
        MetricReader(self._session, self._guard, CallbackList, tracing.fetch).attach(self._patches)

    def detach(self) -> None:
        """Take every hook away again."""
        self._patches.undo()

    def _of_backend(self, backend: str) -> tuple[Tracing, Losses]:
        if backend == "tensorflow":
            from ..tensorflow import tracing

            return tracing(self._session), TensorFlowLosses(self._session)
        from ..jax import tracing as jax_tracing

        return jax_tracing(self._session), JaxLosses(self._session)
