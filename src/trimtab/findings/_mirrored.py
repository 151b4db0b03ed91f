"""Whether what was minimised is minus what the loss function returned."""

from __future__ import annotations

import numpy as np

from ._history import Track

SAME = 1e-3  # relative


def mirrored_loss(track: Track) -> tuple[float, float] | None:
    """(the loss differentiated, what the loss function returned) of the first sampled step, where at nearly all of
    them one is minus the other; else None."""
    losses = track.series.losses
    if "value" not in losses or not len(losses["value"]) or not len(track):
        return None
    rows = np.minimum(np.searchsorted(track.step, losses["step"]), len(track) - 1)
    given, returned = np.asarray(track.columns["loss"], dtype=np.float64)[rows], np.asarray(losses["value"])
    both = np.isfinite(given) & np.isfinite(returned) & (returned != 0)
    given, returned = given[both], returned[both]
    turned = np.abs(given + returned) <= SAME * np.abs(returned)
    if len(given) < 2 or turned.mean() < 0.9:
        return None
    return float(given[0]), float(returned[0])


def trains_a_model(track: Track) -> bool:
    """The optimizer holds a module's parameters. Inputs are optimized too, and often to raise a loss (an attack)."""
    return bool(track.series.info.get("model"))
