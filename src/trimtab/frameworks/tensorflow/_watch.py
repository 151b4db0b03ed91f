"""Watches TensorFlow's trainings in a process: what Keras needs within its traced steps, and loops without Keras."""

from __future__ import annotations

from typing import ClassVar
from weakref import WeakKeyDictionary

import tensorflow as tf

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches
from .._series import Hub
from ._internals import is_tensorflow_1, leave_unconverted
from ._tapes import TapeLosses
from ._tracing import TensorFlowTracing


class TensorFlowWatch:
    """All hooks into TensorFlow itself, and the state that they share."""

    _of: ClassVar[WeakKeyDictionary[Session, TensorFlowWatch]] = WeakKeyDictionary()

    @classmethod
    def of(cls, session: Session) -> TensorFlowWatch:
        """The one of `session`, attached when it is first asked for."""
        watch = cls._of.get(session)
        if watch is None:
            watch = cls._of[session] = cls(session)
            watch.attach()
        return watch

    def __init__(self, session: Session) -> None:
        self._session = session
        self._patches = Patches()
        self._guard = Guard(session, "TensorFlow")
        self.tracing = TensorFlowTracing(session)
        self.losses = TapeLosses(self._guard, self.tracing)

    def attach(self) -> None:
        self._session.on_exit(self._guard(self._at_exit))
        self._session.describe(tensorflow={"version": tf.__version__})
        leave_unconverted(self._patches, "trimtab")
        self.tracing.attach(self._patches)
        self.losses.attach(self._patches)

    def detach(self) -> None:
        self._patches.undo()

    def _at_exit(self) -> None:
        if self._session.position() != (-1, -1):
            return
        if is_tensorflow_1():
            Hub.of(self._session).unseen("TensorFlow 1", "Steps taken in sessions of TensorFlow 1 are not recorded.")
        elif self.losses.seen:
            Hub.of(self._session).unseen(
                "no step",
                "tf.GradientTape gave gradients by variables, but no step of a Keras optimizer was seen: "
                "apply_gradients may be missing, or the variables are changed by hand (assign_sub).",
            )
