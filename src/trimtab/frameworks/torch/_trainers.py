"""Metrics that Lightning and the Hugging Face Trainer log: taken as they pass, logger or none."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping
from typing import Any

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches

# What trainers log beside metrics: counters, speeds, and what is recorded of the optimizer itself.
_IS_NOISE = re.compile(r"^(epoch|step|total_flos|learning_rate|grad_norm)$|_(runtime|per_second|per_sec)$|^lr-")
_LIGHTNING = "trainer.connectors.logger_connector.logger_connector"


class TrainerWatch:
    """Wraps the one method of a trainer through which all its metrics pass."""

    def __init__(self, session: Session, source: str) -> None:
        self._session = session
        self._source = source
        self._note = Guard(session, "PyTorch")(self._log)
        self._patches = Patches()

    def wrap(self, owner: type, method: str, metrics: str, place: int) -> None:
        """Take the mapping that `owner.method` gets as keyword `metrics`, or at `place` after self."""
        original = getattr(owner, method)

        @functools.wraps(original)
        def passing(trainer: Any, *args: Any, **kwargs: Any) -> Any:
            self._note(kwargs.get(metrics, args[place] if len(args) > place else None))
            return original(trainer, *args, **kwargs)

        self._patches.replace(owner, method, passing)

    def detach(self) -> None:
        self._patches.undo()

    def _log(self, metrics: Mapping[str, Any] | None) -> None:
        for name, value in (metrics or {}).items():
            if not _IS_NOISE.search(name) and (number := _as_number(value)) is not None:
                self._session.reports_itself = True
                self._session.log(str(name), number, source=self._source)


def watch_lightning(session: Session) -> TrainerWatch:
    """Lightning (under either of its names): `_LoggerConnector.log_metrics(metrics, step)`."""
    watch = TrainerWatch(session, "lightning")
    for package in ("lightning.pytorch", "pytorch_lightning"):
        module = sys.modules.get(f"{package}.{_LIGHTNING}")
        if module is not None and not hasattr(module._LoggerConnector.log_metrics, "__wrapped__"):
            watch.wrap(module._LoggerConnector, "log_metrics", "metrics", 0)
    return watch


def watch_transformers(session: Session) -> TrainerWatch:
    """transformers: `CallbackHandler.on_log(args, state, control, logs)`."""
    watch = TrainerWatch(session, "transformers")
    watch.wrap(sys.modules["transformers.trainer_callback"].CallbackHandler, "on_log", "logs", 3)
    return watch


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not (isinstance(value, (int, float)) or getattr(value, "numel", int)() == 1):
        return None
    return float(value)
