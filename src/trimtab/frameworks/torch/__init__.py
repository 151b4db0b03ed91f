"""PyTorch: reads Vitals from its trainings, and metrics from the trainers that are built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .._outbox import Session

if TYPE_CHECKING:
    import torch

    from trimtab.policies import Policy

    from ._replay import Replayer
    from ._trainers import TrainerWatch
    from ._watch import TorchWatch

_WATCHES: WeakKeyDictionary[Session, TorchWatch] = WeakKeyDictionary()


def attach(session: Session) -> TorchWatch | Replayer:
    """Hook into PyTorch, which has just been imported, on behalf of `session`."""
    if session.replay is not None:
        from ._replay import Replayer

        replayer = Replayer(session, session.replay)
        replayer.attach()
        return replayer
    from ._watch import TorchWatch

    watch = _WATCHES[session] = TorchWatch(session)
    watch.attach()
    return watch


def watch_of(session: Session) -> TorchWatch | None:
    """What watches PyTorch on behalf of `session`; None in a replay."""
    return _WATCHES.get(session)


def guard(
    session: Session | None, optimizer: torch.optim.Optimizer, model: torch.nn.Module | None, policy: Policy
) -> None:
    """Guard one optimizer: through what watches it, else alone. Raises PolicyError for a policy that it can't have."""
    from ._guarding import refuse_senseless, stepping

    optimizer = stepping(optimizer)
    refuse_senseless(policy, optimizer)
    watch = None if session is None else watch_of(session)
    if watch is not None:
        watch.guards.set(optimizer, policy)
        watch.guard_anew(optimizer)
        return
    from ._guarded import GuardedAlone

    GuardedAlone(optimizer, model, policy).attach(optimizer)


def attach_lightning(session: Session) -> TrainerWatch:
    """Take the metrics that Lightning logs; it has just been imported."""
    from ._trainers import watch_lightning

    return watch_lightning(session)


def attach_transformers(session: Session) -> TrainerWatch:
    """Take the metrics that the Hugging Face Trainer logs; its callbacks have just been imported."""
    from ._trainers import watch_transformers

    return watch_transformers(session)


def check() -> list[tuple[str, bool, str]]:
    """What trimtab relies on in this PyTorch: (name, is it there, detail)."""
    from ._check import check_hook_points

    return check_hook_points()
