"""Waiting for a child while passing on to it the signals that were meant for it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

FORWARDED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT")
    if hasattr(signal, name)
)
#: Signals by which a user says that they have waited long enough.
IMPATIENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: `si_code` of a signal that the kernel sent: a key typed at the terminal, which reaches the whole
#: process group, so that the child has it already. Source: Linux, asm-generic/siginfo.h.
SI_KERNEL = 0x80


class Ended(NamedTuple):
    """How a child ended: its exit status, or minus the signal that killed it, and what it used."""

    status: int
    max_rss_bytes: int
    cpu_seconds: float


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Keep the signals of this module pending, for `wait_for` to take them one by one."""
    if not hasattr(signal, "sigwaitinfo"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, signal.SIGCHLD))
    chld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, chld or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wait_for(child: int, on_signal: Callable[[int, bool], None], on_tick: Callable[[], None] | None = None) -> Ended:
    """Wait until `child` has ended, inside `signals_held`.

    `on_signal(number, from_terminal)` is called for each signal that comes meanwhile; `on_tick` when
    any other child changed its state, and at least every second. Either may raise to stop the waiting.
    """
    if not hasattr(signal, "sigwaitinfo"):
        return _wait_with_handlers(child, on_signal)
    wanted = (*FORWARDED, signal.SIGCHLD)
    while True:
        ended = _reap(child)
        if ended is not None:
            return ended
        if on_tick is not None:
            on_tick()
        info = signal.sigtimedwait(wanted, 1.0) if on_tick is not None else signal.sigwaitinfo(wanted)
        if info is not None and info.si_signo != signal.SIGCHLD and info.si_pid != child:
            on_signal(info.si_signo, info.si_code == SI_KERNEL)


def forward_to(child: int) -> Callable[[int, bool], None]:
    """An `on_signal` that hands on what was sent to us alone."""

    def forward(number: int, from_terminal: bool) -> None:
        if not from_terminal:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    return forward


def die_of(number: int) -> int:
    """End this process by the signal that ended the child, without a core file of ours.

    Returns a shell's word for it, should the signal not kill.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, ValueError):
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (number,))
        os.kill(os.getpid(), number)
        time.sleep(0.1)
    return 128 + number


def _reap(child: int) -> Ended | None:
    pid, status, used = os.wait4(child, os.WNOHANG)
    return _ended(status, used) if pid == child else None


def _ended(status: int, used: resource.struct_rusage) -> Ended:
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return Ended(os.waitstatus_to_exitcode(status), used.ru_maxrss * unit, used.ru_utime + used.ru_stime)


def _wait_with_handlers(child: int, on_signal: Callable[[int, bool], None]) -> Ended:
    """For systems without sigwaitinfo (macOS), where an interrupt is taken to come from the terminal."""
    before = {
        number: signal.signal(number, lambda got, _: on_signal(got, got == signal.SIGINT)) for number in FORWARDED
    }
    try:
        while True:
            pid, status, used = os.wait4(child, 0)
            if pid == child:
                return _ended(status, used)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
