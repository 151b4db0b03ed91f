"""TensorFlow: measures inside its traced steps."""

from __future__ import annotations

from .._outbox import Session


def attach(session: Session) -> None:
    """Hook into it, which has just been imported, on behalf of `session`."""


def attach_legacy_keras(session: Session) -> None:
    """Hook into it, which has just been imported, on behalf of `session`."""
