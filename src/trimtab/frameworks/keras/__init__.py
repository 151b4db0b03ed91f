"""Keras 3, thin: what it adds to the backend that owns the step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._outbox import Session

if TYPE_CHECKING:
    from ._watch import KerasWatch


def attach(session: Session) -> KerasWatch:
    """Hook into it, which has just been imported, on behalf of `session`."""
    from ._watch import KerasWatch

    watch = KerasWatch(session)
    watch.attach()
    return watch


def check() -> list[tuple[str, bool, str]]:
    """What trimtab relies on in this Keras: (name, is it there, detail)."""
    from ._check import check_hook_points

    return check_hook_points()
