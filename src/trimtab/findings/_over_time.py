"""How the gradient's scale changes over time at the first step, in a layer that is called again and again.

A recurrence applies one matrix at every step of time: what it stretches grows exponentially with the length of the
sequence. Seen where the script calls a layer step by step; inside of a fused LSTM or RNN it is not.
Source: Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._history import Columns, Track
from ._signal import Direction, direction_of, mean_width, passes

FEW_CALLS = 5  # fewer say little of a trend
LIMIT = 1.0  # decades from the last call to the first; trainings that went well shrink it, or keep it within 0.3
LIVE_LIMIT = 2.0


@dataclass(frozen=True)
class Recurrence:
    """A layer called `calls` times in a forward pass; `direction` is that of its output's gradient, last call to
    first."""

    step: int
    module: str
    calls: int
    direction: Direction
    live: bool = False

    @property
    def limit(self) -> float:
        return (LIVE_LIMIT if self.live else LIMIT) + self.direction.drift

    @property
    def grows(self) -> bool:
        """Call by call, and beyond the limit."""
        return self.direction.steady and self.direction.log10_ratio > self.limit

    @property
    def decades_per_call(self) -> float:
        return self.direction.log10_ratio / (self.calls - 1)


def over_time(track: Track, *, live: bool = False) -> Recurrence | None:
    """The layer called often whose gradient grows most on its way back; None where no layer is called often."""
    sampled = np.asarray(track.series.sampled_steps)
    if not len(sampled):
        return None
    step = int(sampled[0])
    rows = track.series.modules(step)
    if not len(rows.get("call", ())):
        return None
    found = [
        Recurrence(step, module, len(gradients), direction, live)
        for module, gradients in _by_module(rows, passes(track, step)).items()
        if (direction := direction_of(gradients[::-1], mean_width(track, (module,)), live, backward=True)) is not None
    ]
    return max(found, key=lambda again: again.direction.log10_ratio, default=None)


def _by_module(rows: Columns, of_passes: int) -> dict[str, np.ndarray]:
    """Scale of the gradient at each call of the first pass, in order, of the weighted modules called often."""
    calls: dict[str, list[float]] = {}
    for i in np.argsort(rows["call"], kind="stable"):
        if rows["weighted"][i] and str(rows["kind"][i]) != "Embedding":
            calls.setdefault(str(rows["module"][i]), []).append(float(rows["grad_rms"][i]))
    first = {module: np.array(found[: len(found) // of_passes]) for module, found in calls.items()}
    return {module: found for module, found in first.items() if np.isfinite(found).sum() >= FEW_CALLS}
