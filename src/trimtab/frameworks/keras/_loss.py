"""The losses of a step: what was differentiated, as the backend has seen it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .._outbox import Session


class Losses(Protocol):
    """Losses hold a loss scaler's factor. They come with the step that takes them, or beside it."""

    def of_step(self, grads: Sequence[Any], variables: Sequence[Any]) -> tuple[Any, Any] | None:
        """In the step that applies `grads`: the mean loss, and of how many backward passes; None where unknown."""

    def arrived(self) -> list[float]:
        """On the host, when a step has arrived: losses that arrived beside it."""


class TensorFlowLosses:
    """Of `GradientTape`, by which Keras' trainer differentiates as well."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def of_step(self, grads: Sequence[Any], variables: Sequence[Any]) -> tuple[Any, Any] | None:
        from ..tensorflow import loss_of_step

        return loss_of_step(self._session, grads, variables)

    def arrived(self) -> list[float]:
        return []


class JaxLosses:
    """Of `jax.value_and_grad`, by which Keras' trainer differentiates as well."""

    def __init__(self, session: Session) -> None:
        from ..jax._watch import watch

        self._losses = watch(session).losses
        self.arrived = self._losses.take

    def of_step(self, grads: Sequence[Any], variables: Sequence[Any]) -> tuple[Any, Any] | None:
        loss = self._losses.traced()
        return None if loss is None else (loss, 1.0)
