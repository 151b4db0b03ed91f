"""Starts the user's program in a process of its own, as a shell would have started it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

PR_SET_PDEATHSIG = 1
_SET_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")


def start_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Fork and execute `command`; returns its process id.

    It has our standard streams, directory, process group and signal settings. On Linux it dies with
    us, should we be killed: a user who kills the process they started must not leave a training behind.
    """
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _execute(parent, command, environment)
    except OSError as error:
        print(f"trimtab: cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    except BaseException:
        os._exit(126)
    os._exit(126)


def _execute(parent: int, command: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    for name in _SET_BY_PYTHON:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    if sys.platform == "linux":
        with contextlib.suppress(Exception):
            _die_with_parent(parent)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execvpe(command[0], list(command), dict(environment))


def _die_with_parent(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
