"""optax: reads Vitals from its updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._outbox import Session

if TYPE_CHECKING:
    from ._watch import OptaxWatch


def attach(session: Session) -> OptaxWatch | None:
    """Hook into optax, which has just been imported, on behalf of `session`."""
    if session.replay is not None:
        return None
    from ._watch import OptaxWatch

    watch = OptaxWatch(session)
    watch.attach()
    return watch
