"""JAX: measures inside its jitted steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._outbox import Session

if TYPE_CHECKING:
    from ._tracing import JaxTracing
    from ._watch import JaxWatch


def attach(session: Session) -> JaxWatch | None:
    """Hook into JAX, which has just been imported, on behalf of `session`."""
    if session.replay is not None:
        return None
    from ._watch import watch

    return watch(session)


def tracing(session: Session) -> JaxTracing:
    """What measures inside the steps of this process."""
    from ._watch import watch

    return watch(session).tracing


def check() -> list[tuple[str, bool, str]]:
    """What trimtab relies on in this JAX: (name, is it there, detail)."""
    from ._check import check_hook_points

    return check_hook_points()
