"""`trimtab run`: starts the recorder and the user's program, and stands aside until both have ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from ._child import start_child
from ._program import Program
from ._rendezvous import Rendezvous
from ._signals import IMPATIENT, Ended, die_of, forward_to, signals_held, wait_for

_T = TypeVar("_T")
QUIET = "TRIMTAB_QUIET"
RECORDER_SECONDS = 600.0
"""How long the recorder may take to finish after the training; then it goes on without us."""


class Settings(NamedTuple):
    """What `trimtab run` was told about the record.

    `out`: the run directory asked for, None for a new one below `.trimtab`. `metrics`: as
    [name, pattern, direction]. `keep_batch`: keep the batch of a step that fails. `policies`: what guards the training.
    """

    out: str | None
    metrics: Sequence[Sequence[str | None]]
    max_bytes: int
    keep_batch: bool = False
    policies: Sequence[str] = ()


class _Recorder(NamedTuple):
    pid: int
    place: Rendezvous


def run_watched(program: Program, settings: Settings) -> int:
    """Run the program under watch and return its exit status; a signal that killed it kills us as well.

    Whatever fails in here, the program is run.
    """
    environment = dict(os.environ)
    with signals_held():
        recorder = _guarded("cannot record", lambda: _start_recorder(program, settings, environment))
        child = start_child(program.command, environment)
        if recorder is not None:
            recorder.place.close_listener()
        ended = wait_for(child, forward_to(child))
        if recorder is not None:
            _guarded("cannot finish the record", lambda: _finish(recorder, ended))
    return ended.status if ended.status >= 0 else die_of(-ended.status)


def complain(text: str) -> None:
    """One line of ours on stderr, unless silence was asked for."""
    if not os.environ.get(QUIET):
        with contextlib.suppress(Exception):
            print(f"trimtab: {text}", file=sys.stderr, flush=True)


def _start_recorder(program: Program, settings: Settings, environment: dict[str, str]) -> _Recorder:
    place = Rendezvous.make()
    started = time.monotonic()
    handed_down: dict[str, Any] = {"socket": place.path, "main": os.getpid(), "started": started}
    if settings.metrics:
        handed_down["metrics"] = settings.metrics
    if settings.keep_batch:
        handed_down["keep_batch"] = True
    if settings.policies:
        handed_down["policies"] = list(settings.policies)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_recorder(place, program, settings, started)
    environment["TRIMTAB_SESSION"] = json.dumps(handed_down)
    environment["TRIMTAB_REACHED"] = place.reached
    return _Recorder(pid, place)


def _be_recorder(place: Rendezvous, program: Program, settings: Settings, started: float) -> None:
    status = 1
    try:
        from ._recorder import RecorderOptions, become_recorder, serve

        become_recorder()
        listener = place.as_recorder()
        options = RecorderOptions(
            out=settings.out,
            program=program,
            metrics=settings.metrics,
            max_bytes=settings.max_bytes,
            started=started,
            place=place.directory,
            quiet=bool(os.environ.get(QUIET)),
        )
        serve(listener, options)
        status = 0
    except BaseException as error:
        complain(f"the recorder failed: {type(error).__name__}: {error}; the record ends here")
        if os.environ.get("TRIMTAB_DEBUG"):
            import traceback

            traceback.print_exc()
    finally:
        place.remove()
        os._exit(status)


class _Leave(Exception):  # noqa: N818 - not an error
    """No more waiting for the recorder."""


def _finish(recorder: _Recorder, ended: Ended) -> None:
    """Tell the recorder how the program ended and wait for it: one Ctrl-C spares its page, two leave it alone."""
    recorder.place.say_end(ended._asdict())
    deadline = time.monotonic() + RECORDER_SECONDS
    impatience = 0

    def on_signal(number: int, from_terminal: bool) -> None:
        nonlocal impatience
        if number in IMPATIENT:
            impatience += 1
            os.kill(recorder.pid, signal.SIGUSR1)
        if impatience > 1:
            raise _Leave

    def on_tick() -> None:
        if time.monotonic() > deadline:
            complain(f"the recorder still works (process {recorder.pid}); not waiting for it")
            raise _Leave

    with contextlib.suppress(_Leave):
        how = wait_for(recorder.pid, on_signal, on_tick)
        if how.status < 0:
            complain(f"the recorder was killed by signal {-how.status}; the record ends there")
            recorder.place.remove()


def _guarded(what: str, call: Callable[[], _T]) -> _T | None:
    try:
        return call()
    except Exception as error:
        complain(f"{what}: {type(error).__name__}: {error}; the program runs as it is")
        return None
