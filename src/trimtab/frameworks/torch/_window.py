"""What is seen between two optimizer steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ._clips import ClipCall


@dataclass(slots=True)
class Window:
    """What was seen since an optimizer last stepped.

    `stepped` marks a window that a step has used: it stays, since another optimizer may step on
    the same losses (actor-critic), until the next backward pass begins a new one.
    """

    losses: list[float | Tensor] = field(default_factory=list)
    clips: list[ClipCall] = field(default_factory=list)
    leftover: dict[int, float] = field(default_factory=dict)
    forward: dict[str, Any] | None = None
    stepped: bool = False

    def begin_pass(self) -> None:
        """A backward pass begins: the first of the next window, or one that adds to gradients already clipped, of which
        the clip then says nothing any more."""
        if self.stepped:
            self.restart()
        elif self.clips:
            self.clips = []

    def restart(self) -> None:
        """Begin the next window. Lists are made anew: rows hold the old ones."""
        self.losses, self.forward, self.stepped = [], None, False
        if self.clips or self.leftover:
            self.clips, self.leftover = [], {}
