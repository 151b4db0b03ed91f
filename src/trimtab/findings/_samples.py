"""Which sampled steps a rule reads: few, since each costs a read of all tensors or modules of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ._history import Columns, Track

LAST = 3  # a reading must hold at all of these last steps
LIMIT = 10


def sampled_steps(track: Track, *, live: bool = False) -> list[int]:
    """The first sampled step, the last three, and some evenly between; while it runs only the former, as kept."""
    sampled = np.asarray(track.series.sampled_steps)
    if not len(sampled):
        return []
    between = [] if live else np.linspace(0, len(sampled) - 1, LIMIT - LAST).astype(int).tolist()
    places = {0, *between, *range(max(0, len(sampled) - LAST), len(sampled))}
    return [int(sampled[place]) for place in sorted(places)]


def readings(
    track: Track, steps: Sequence[int], read: Callable[[Columns], Mapping[str, float]]
) -> tuple[list[int], dict[str, list[float]]]:
    """What `read` finds in the module rows of each step, by layer; NaN at a step at which a layer has none.

    Also the steps that have rows, in the same order.
    """
    found = [(step, read(rows)) for step in steps if len((rows := track.series.modules(step)).get("call", ()))]
    layers = list(dict.fromkeys(layer for _, values in found for layer in values))
    return [step for step, _ in found], {
        layer: [float(values.get(layer, float("nan"))) for _, values in found] for layer in layers
    }


def holds_since(steps: Sequence[int], values: Sequence[float], limit: float) -> int | None:
    """The first of the steps from which on every value is at `limit` or beyond; None where the last three are not.

    A record with fewer steps than that must show it at all of them.
    """
    beyond = [value >= limit for value in values]
    if not beyond or not all(beyond[-LAST:]):
        return None
    first = next((i + 1 for i in range(len(beyond) - 1, -1, -1) if not beyond[i]), 0)
    return int(steps[first])
