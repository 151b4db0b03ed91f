"""`with trimtab.watch(): ...`: the same record and verdict for code that is already running, as in a notebook."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ._exits import report_exception
from ._metrics import parse_metric
from ._rendezvous import RUN_DIRECTORY, Rendezvous
from ._session import Session, current, set_current
from ._sizes import parse_size
from ._start import start, tell_reached
from ._supervisor import RECORDER_SECONDS, complain

DEFAULT_MAX_BYTES = 10**9
PAGE = "page"

_active: Watch | None = None


def watch(
    out: str | os.PathLike[str] | None = None,
    *,
    metrics: Sequence[str] = (),
    max_size: str | None = None,
    keep_batch: bool = False,
) -> Watch:
    """Watch the trainings inside a `with` block; the page is printed on stderr at its end.

        with trimtab.watch() as run:
            train(model)
        run.verdict["outcome"], run.path

    `out`, `metrics`, `max_size` and `keep_batch` are as for `trimtab run`. Inside of `trimtab run`, and of another
    `watch`, it changes nothing: what is recorded there goes on being recorded.
    """
    directory = os.path.abspath(out) if out is not None else None
    if directory is not None:
        from ._out import check_free

        check_free(directory)
    patterns = [parse_metric(text).to_json() for text in metrics]
    return Watch(directory, patterns, parse_size(max_size) if max_size else DEFAULT_MAX_BYTES, keep_batch)


class Watch:
    """One watched block. `path`: the run directory; `verdict`: what verdict.json says, once it has ended."""

    def __init__(self, out: str | None, metrics: list[list[str | None]], max_bytes: int, keep_batch: bool) -> None:
        self.path: Path | None = None
        self.verdict: dict[str, Any] | None = None
        self._keep_batch = keep_batch
        self._options = {"out": out, "metrics": metrics, "max_bytes": max_bytes}
        self._session: Session | None = None
        self._place: Rendezvous | None = None
        self._recorder: subprocess.Popen[bytes] | None = None
        self._environment: str | None = None

    def __enter__(self) -> Watch:
        global _active
        outer = current()
        if outer is not None:
            if _active is not None:
                return _active
            self.path = Path(outer.directory) if outer.directory else None
            return self
        try:
            self._begin()
            _active = self
        except Exception as error:
            complain(f"cannot record: {type(error).__name__}: {error}; the training goes on")
            self._abandon()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _active
        if self._session is None:
            return
        _active = None
        try:
            self._end(error)
        except Exception as failure:
            complain(f"cannot finish the record: {type(failure).__name__}: {failure}")
        finally:
            self._abandon()

    def _begin(self) -> None:
        self._place = Rendezvous.make()
        started = time.monotonic()
        settings: dict[str, Any] = {"socket": self._place.path, "main": os.getpid(), "started": started}
        if self._options["metrics"]:
            settings["metrics"] = self._options["metrics"]
        if self._keep_batch:
            settings["keep_batch"] = True
        self._recorder = _start_recorder(self._place, {**self._options, "started": started})
        self._place.close_listener()
        tell_reached(self._place.reached)
        self._environment = os.environ.get("TRIMTAB_SESSION")
        os.environ["TRIMTAB_SESSION"] = json.dumps(settings)
        self._session = start(os.environ["TRIMTAB_SESSION"])

    def _end(self, error: BaseException | None) -> None:
        assert self._session is not None
        assert self._place is not None
        assert self._recorder is not None
        if error is not None and not isinstance(error, SystemExit):
            report_exception(self._session, error)
        self._session.leave()
        self._place.say_end({"status": _status_of(error)})
        self._recorder.wait(RECORDER_SECONDS)
        directory = _text(os.path.join(self._place.directory, RUN_DIRECTORY))
        if directory and os.path.isdir(directory):
            self.path = Path(directory)
            with contextlib.suppress(OSError, ValueError):
                self.verdict = json.loads((self.path / "verdict.json").read_text(encoding="utf-8"))
        sys.stderr.write(_text(os.path.join(self._place.directory, PAGE)))

    def _abandon(self) -> None:
        """Leave nothing behind: no session, no variable, no files of the rendezvous."""
        if self._session is not None:
            set_current(None)
            self._session = None
            if self._environment is None:
                os.environ.pop("TRIMTAB_SESSION", None)
            else:
                os.environ["TRIMTAB_SESSION"] = self._environment
        if self._place is not None:
            with contextlib.suppress(Exception):
                self._place.control.close()
                self._place.close_listener()
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._place.directory, PAGE))
            self._place.remove()


def _start_recorder(place: Rendezvous, options: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A fresh process, not a fork: here are threads, and perhaps a GPU's context."""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))}
    environment.pop("TRIMTAB_SESSION", None)
    words = json.dumps({**options, "place": place.directory, "page_file": os.path.join(place.directory, PAGE)})
    return subprocess.Popen(
        [sys.executable, "-m", "trimtab.launch._standalone", str(place.listener.fileno()), words],
        pass_fds=[place.listener.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment,
    )


def _status_of(error: BaseException | None) -> int:
    if error is None or isinstance(error, SystemExit):
        return 0
    return -2 if isinstance(error, KeyboardInterrupt) else 1


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
