"""What vanishing-gradient and exploding-gradient say alike of the signal at the first step."""

from __future__ import annotations

from .._language import t
from ._history import Columns, History, Track
from ._progress import progress
from ._signal import Direction, Signal

MILD = 2.0  # decades beyond the limit, which a learning rate that is far too high outweighs


def got_over() -> str:
    return t("; the run trained all the same, so there is nothing to do unless it should train faster")


def severity_of(history: History, *, recovered: str) -> str:
    """A bad start is fatal only if the training did not get over it."""
    if history.live:
        return "serious"
    state = progress(history).state
    return {"learned": recovered, "stuck": "fatal", "plateau": "fatal", "constant": "fatal"}.get(state, "serious")


def is_mild(direction: Direction) -> bool:
    return abs(direction.log10_ratio) < direction.limit + direction.drift + MILD


def signal_places(history: History, track: Track, found: Signal, name: str) -> tuple[dict[str, object], ...]:
    """The layers where the weak (or strong) end of the signal is, at most five."""
    layers = found.layers if name == "backward" else found.layers[::-1]
    return tuple(history.place(track, module=layer) for layer in layers[: max(1, min(5, len(layers) // 3))])


def signal_readings(found: Signal, direction: Direction, name: str) -> dict[str, object]:
    return {
        "layers": len(found.layers),
        "direction": name,
        "log10_forward_ratio": found.forward.log10_ratio if found.forward else None,
        "log10_backward_ratio": found.backward.log10_ratio if found.backward else None,
        "threshold": (direction.limit + direction.drift) * (1 if direction.log10_ratio > 0 else -1),
        "layer_by_layer": direction.steady,
        "by_depth": list(direction.by_depth),
    }


def normalised(modules: Columns) -> bool:
    """A normalisation takes part in the forward pass."""
    return any("Norm" in str(kind) for kind in modules.get("kind", ()))


def first_process(history: History) -> list[Track]:
    """One track per optimizer: ranks hold the same weights."""
    return [track for track in history.tracks if track.process == history.tracks[0].process]
