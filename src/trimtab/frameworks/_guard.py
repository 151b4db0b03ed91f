"""What keeps a fault of ours from the training: every hook is timed, and switched off at its first error."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from ._outbox import Session


class Guard:
    """Wraps hooks. `seconds` is the time that they took since it was last set to 0."""

    def __init__(self, session: Session, framework: str) -> None:
        self._session = session
        self._framework = framework
        self.seconds = 0.0

    def __call__(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        """`hook`, that returns None and does nothing more once it has raised; the error is told once."""
        failed = False

        def guarded(*args: Any, **kwargs: Any) -> Any:
            nonlocal failed
            if failed:
                return None
            began = monotonic()
            try:
                return hook(*args, **kwargs)
            except Exception:
                failed = True
                self.complain(hook)
                return None
            finally:
                self.seconds += monotonic() - began

        return guarded

    def complain(self, hook: Callable[..., Any]) -> None:
        """Tell of the exception being handled, which `hook` raised."""
        name = getattr(hook, "__name__", str(hook)).lstrip("_")
        self._session.error(f"{self._framework}: {name}")
