"""Every way out of a Python process passes here, so that what was seen is on its way before it is gone."""

from __future__ import annotations

import atexit
import os
import sys

from ._imports import after_import
from ._session import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType
    from typing import Any, NoReturn

    from ._session import Session

_reported: set[int] = set()
_hooked = False


def watch_exits() -> None:
    """Hook the end of the interpreter, uncaught exceptions, os._exit and os.exec*, once per process.

    The hooks serve whichever session is current, and nothing where there is none.
    """
    global _hooked
    if _hooked:
        return
    _hooked = True
    atexit.register(_at_exit)
    os.register_at_fork(after_in_child=_in_child)
    _wrap_excepthook()
    _wrap_os_exit()
    _wrap_exec("execv")
    _wrap_exec("execve")
    after_import("threading", _wrap_thread_hook)


def report_exception(session: Session, error: BaseException) -> None:
    """Record an uncaught exception; once training has begun, wait until it is on disk."""
    if id(error) in _reported:
        return
    _reported.add(id(error))
    if isinstance(error, KeyboardInterrupt):
        session.end("interrupted")
        return
    from ._tracebacks import describe_exception

    session.flush()
    session.event("exception", **describe_exception(error))
    if session.position()[1] >= 0:
        session.sync()


def _at_exit() -> None:
    # A script that put an excepthook of its own in place of ours is still known to have failed.
    error = getattr(sys, "last_value", None)
    if error is not None:
        _guarded(lambda session: report_exception(session, error))
    _guarded(lambda session: session.end("exit"))


def _in_child() -> None:
    _guarded(lambda session: session.in_child())


def _wrap_excepthook() -> None:
    original = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> Any:
        _guarded(lambda session: _hide(error))
        _guarded(lambda session: report_exception(session, error))
        return original(kind, error, error.__traceback__)

    sys.excepthook = excepthook


def _wrap_thread_hook(threading: ModuleType) -> None:
    original = threading.excepthook

    def excepthook(args: Any, /) -> Any:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            _guarded(lambda session: _report_in_thread(session, args))
        return original(args)

    threading.excepthook = excepthook  # type: ignore[attr-defined]


def _report_in_thread(session: Session, args: Any) -> None:
    from ._tracebacks import describe_exception

    _hide(args.exc_value)
    session.event("exception", **describe_exception(args.exc_value), thread=getattr(args.thread, "name", ""))


def _wrap_os_exit() -> None:
    original = os._exit

    def _exit(status: int) -> NoReturn:
        """Exit to the system with specified status, without normal exit processing."""
        _guarded(lambda session: session.end("os._exit"))
        original(status)

    os._exit = _exit


def _wrap_exec(name: str) -> None:
    """Send what there is before another program takes this process's place."""
    original: Callable[..., NoReturn] = getattr(os, name)

    def execute(*args: Any, **kwargs: Any) -> NoReturn:
        _guarded(lambda session: session.flush())
        original(*args, **kwargs)

    execute.__name__ = execute.__qualname__ = name
    execute.__doc__ = original.__doc__
    setattr(os, name, execute)


def _hide(error: BaseException) -> None:
    from ._tracebacks import hide_own_frames

    hide_own_frames(error)


def _guarded(call: Callable[[Session], Any]) -> None:
    session = current()
    if session is None:
        return
    try:
        call(session)
    except Exception:
        session.error("closing the record")
