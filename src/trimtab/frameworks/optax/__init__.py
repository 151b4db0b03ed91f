"""optax: reads Vitals from its updates."""

from __future__ import annotations

from .._outbox import Session


def attach(session: Session) -> None:
    """Hook into it, which has just been imported, on behalf of `session`."""
