"""Keras 3, thin: what it adds to the backend that owns the step."""

from __future__ import annotations

from .._outbox import Session


def attach(session: Session) -> None:
    """Hook into it, which has just been imported, on behalf of `session`."""
