"""Metrics as Keras itself gives them: once per epoch of `fit`, and of every `evaluate` outside of one."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches

# Of an epoch: what is recorded at every step.
_KNOWN = frozenset({"loss", "learning_rate", "lr"})
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep


class MetricReader:
    """Wraps the list of callbacks (the class) that every loop of Keras calls: no callback is added to the script's own.

    `fetch` has the steps up to now recorded, so that a metric lies after the last of them.
    """

    def __init__(self, session: Session, guard: Guard, callback_list: Any, fetch: Callable[[], None]) -> None:
        self._session = session
        self._guard = guard
        self._callback_list = callback_list
        package = sys.modules[callback_list.__module__.partition(".")[0]]
        self._libraries = (os.path.dirname(str(package.__file__)) + os.sep, _OURS)
        self._fetch = fetch
        self._training: WeakSet[Any] = WeakSet()
        self._names: dict[Any, str] = {}

    def attach(self, patches: Patches) -> None:
        for name, note in (
            ("on_train_begin", self._begin),
            ("on_train_end", self._end),
            ("on_epoch_end", self._log_epoch),
            ("on_test_end", self._log_evaluation),
        ):
            original = getattr(self._callback_list, name)
            patches.replace(self._callback_list, name, self._wrap(original, self._guard(note)))

    def _wrap(self, original: Callable[..., Any], note: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def called(callbacks: Any, *args: Any, **kwargs: Any) -> Any:
            note(callbacks, kwargs.get("logs", args[-1] if args else None))
            return original(callbacks, *args, **kwargs)

        return called

    def _begin(self, callbacks: Any, _: Any) -> None:
        self._training.add(callbacks)

    def _end(self, callbacks: Any, _: Any) -> None:
        self._training.discard(callbacks)

    def _log_epoch(self, _: Any, logs: Any) -> None:
        self._log(logs, "")

    def _log_evaluation(self, callbacks: Any, logs: Any) -> None:
        if callbacks not in self._training:  # else the epoch's end will tell
            self._log(logs, self._name_of_site())

    def _log(self, logs: Any, prefix: str) -> None:
        if not isinstance(logs, Mapping):
            return
        self._fetch()
        self._session.reports_itself = True
        for name, value in logs.items():
            if (prefix or name not in _KNOWN) and (number := _as_number(value)) is not None:
                self._session.log(f"{prefix}{name}", number, source="keras")

    def _name_of_site(self) -> str:
        """Evaluations that different lines of the script ask for may be of different data: they are named apart, in
        order of appearance: eval_loss, eval_2_loss, ..."""
        return self._names.setdefault(
            _call_site(self._libraries), f"eval_{len(self._names) + 1}_" if self._names else "eval_"
        )


def _call_site(libraries: tuple[str, ...]) -> tuple[Any, int] | None:
    """The place in the script, or in a library that is not one of these (Keras and ours), from which it was called."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(libraries):
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else (frame.f_code, frame.f_lasti)


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not (isinstance(value, int | float) or getattr(value, "shape", None) == ()):
        return None
    return float(value)
