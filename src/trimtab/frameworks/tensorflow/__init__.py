"""TensorFlow: measures inside its traced steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._outbox import Session

if TYPE_CHECKING:
    from ._legacy import LegacyKerasWatch
    from ._tapes import StepLoss
    from ._tracing import TensorFlowTracing
    from ._watch import TensorFlowWatch


def attach(session: Session) -> TensorFlowWatch:
    """Hook into TensorFlow, which has just been imported, on behalf of `session`."""
    from ._watch import TensorFlowWatch

    return TensorFlowWatch.of(session)


def attach_legacy_keras(session: Session) -> LegacyKerasWatch:
    """Hook into Keras 2 (`tf_keras`), which has just been imported, on behalf of `session`."""
    from ._legacy import LegacyKerasWatch

    watch = LegacyKerasWatch(session)
    watch.attach()
    return watch


def tracing(session: Session) -> TensorFlowTracing:
    """What measures inside TensorFlow's steps: the process's one."""
    return attach(session).tracing


def loss_of_step(session: Session, grads: Sequence[Any], variables: Sequence[Any]) -> StepLoss | None:
    """What was differentiated for the step that applies `grads` to `variables` and is under way now, in this trace or
    eagerly: mean and number of the backward passes since the step before; None where none was seen. A factor by which
    the script scaled its loss is still in it. To be asked once per step."""
    return attach(session).losses.of_step(grads, variables)


def check() -> list[tuple[str, bool, str]]:
    """What trimtab relies on in this TensorFlow: (name, is it there, detail)."""
    from ._check import check_hook_points

    return check_hook_points()
