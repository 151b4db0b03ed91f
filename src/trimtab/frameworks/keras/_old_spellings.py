"""Settings that Keras takes and leaves undone, so that the training silently is another one."""

from __future__ import annotations

import functools
from traceback import extract_stack
from typing import Any

from keras.src.optimizers.base_optimizer import BaseOptimizer

from ..._places import users_place
from .._guard import Guard
from .._outbox import Session
from .._patches import Patches


class OldSpellings:
    """Tells of `decay=` when an optimizer is made, and of `optimizer.lr = ...`: nothing reads it."""

    def __init__(self, session: Session, guard: Guard) -> None:
        self._session = session
        self._tell = guard(self._tell_ignored)

    def attach(self, patches: Patches) -> None:
        init, set_attribute, tell = BaseOptimizer.__init__, BaseOptimizer.__setattr__, self._tell

        @functools.wraps(init)
        def told_init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            if kwargs.get("decay") is not None:
                tell(optimizer, "decay", kwargs["decay"])
            init(optimizer, *args, **kwargs)

        @functools.wraps(set_attribute)
        def told_setattr(optimizer: Any, name: str, value: Any) -> None:
            if name == "lr" and type(optimizer).__module__.startswith("keras."):
                tell(optimizer, name, value)
            set_attribute(optimizer, name, value)

        patches.replace(BaseOptimizer, "__init__", told_init)
        patches.replace(BaseOptimizer, "__setattr__", told_setattr)

    def _tell_ignored(self, optimizer: Any, setting: str, value: Any) -> None:
        given = value if isinstance(value, int | float | str) else str(value)
        place = users_place(extract_stack())
        self._session.event("old_spelling", setting=setting, value=given, of=type(optimizer).__name__, **place)
