"""What policies remember of an optimizer's steps, as one vector."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ...policies import Namespace
from ...policies._policy import State


class Memory(Protocol):
    """Float32, one axis; it lives where the steps are taken."""

    def read(self) -> Any:
        """As it is now, in the step that is under way."""

    def write(self, vector: Any) -> None: ...


def flat(state: State, xp: Namespace) -> Any:
    """All that the state holds, laid end to end; None where it holds nothing."""
    leaves = [leaf if len(leaf.shape) else leaf[None] for leaf in _leaves(state)]
    return xp.concat(leaves) if leaves else None


def shaped(vector: Any, template: State) -> State:
    """`vector` in the form of `template`, whose arrays have one axis at most."""
    at = 0

    def taken(part: Any) -> Any:
        nonlocal at
        if isinstance(part, tuple):
            return tuple(taken(inner) for inner in part)
        start, at = at, at + int(np.size(part))
        return vector[start:at] if np.ndim(part) else vector[start]

    return tuple(taken(part) for part in template)


def _leaves(state: State) -> list[Any]:
    return [leaf for part in state for leaf in (_leaves(part) if isinstance(part, tuple) else [part])]
