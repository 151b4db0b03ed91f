"""Running a model's own Python once more, without the script or the training noticing."""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras.src.backend.common import global_state

_COUNTERS, _SEEDS = "object_name_uids", "global_seed_generator"


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """What the model's code prints, warns of, draws from Python's and NumPy's random streams, names or gathers as
    losses meanwhile leaves no trace."""
    python, numpy = random.getstate(), np.random.get_state()
    counters, seeds = global_state.get_global_attribute(_COUNTERS), global_state.get_global_attribute(_SEEDS)
    counted = None if counters is None else dict(counters)
    layers = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in model._flatten_layers()]
    stdout, warn = sys.stdout, warnings.warn
    sys.stdout = _Hushed(stdout)
    warnings.warn = lambda *args, **kwargs: None
    try:
        yield
    finally:
        sys.stdout, warnings.warn = stdout, warn
        for layer, losses, ids in layers:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(ids)
        if counters is not None and counted is not None:
            counters.clear()
            counters.update(counted)
        global_state.set_global_attribute(_SEEDS, seeds)
        random.setstate(python)
        np.random.set_state(numpy)


class _Hushed:
    """A stream that swallows what this thread writes."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self._thread else int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
