"""All hooks into JAX. There is one of them in a process, since what JAX has compiled outlives a session."""

from __future__ import annotations

import jax

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches
from .._series import Hub
from ._differentiation import Losses, watched_grad, watched_value_and_grad
from ._jit import watched_jit
from ._tracing import JaxTracing
from ._windows import Windows


class JaxWatch:
    def __init__(self) -> None:
        self._windows = Windows()
        self._patches = Patches()
        self._session: Session | None = None
        self.tracing = JaxTracing(self._windows, jax.jit)
        self.losses = Losses(self.tracing)

    def follow(self, session: Session) -> None:
        """Watch on behalf of `session` from now on."""
        if session is self._session:
            return
        self.detach()
        self._session = session
        self._windows.follow(session)
        self.losses.follow(Guard(session, "JAX"))
        Hub.of(session).at_flush(self._windows.fetch)
        session.on_fork(self._windows.forget)
        session.describe(jax={"version": jax.__version__})
        self._patches.replace(jax, "jit", watched_jit(jax.jit, self._windows))
        self._patches.replace(jax, "grad", watched_grad(jax.grad, jax.value_and_grad, self.losses))
        self._patches.replace(jax, "value_and_grad", watched_value_and_grad(jax.value_and_grad, self.losses))

    def detach(self) -> None:
        """Take every hook away again."""
        self._patches.undo()
        self._windows.stop()
        self._session = None


_WATCH = JaxWatch()


def watch(session: Session) -> JaxWatch:
    """The process's watch, on behalf of `session`."""
    _WATCH.follow(session)
    return _WATCH
