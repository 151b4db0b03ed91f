"""Whether what training learned holds for the validation data at all."""

from __future__ import annotations

import numpy as np

from ._history import Floats, Track
from ._progress import Progress, chance_error

LEARNED = 0.02  # better than chance in training
CARRIED = 0.02  # better than chance in validation, and a quarter of training's gain: under that, nothing is
ERRORS = 2.0  # standard errors by which chance may be less than it seems


def medians_of_three(values: Floats) -> Floats:
    if len(values) < 3:
        return values
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(values, 3), axis=1))


def nothing_carries(state: Progress, values: Floats) -> bool:
    """Training came down from chance, and the validation loss `values` never did."""
    return _nothing(state, float(medians_of_three(values).min()), state.reference)


def perhaps_nothing_carries(track: Track, state: Progress, values: Floats) -> bool:
    """The same against the least that chance may be, known from few targets, of a validation loss that did not come
    down from its first value either."""
    error = chance_error(track)
    best = float(medians_of_three(values).min())
    stayed = float(values[0]) - best <= CARRIED * state.reference
    return error > 0 and stayed and _nothing(state, best, state.reference * (1 - ERRORS * error))


def _nothing(state: Progress, best: float, chance: float) -> bool:
    if not state.by_chance or state.state not in ("learned", "falling", "weak") or not chance > 0:
        return False
    gained, carried = (chance - state.last) / chance, (chance - best) / chance
    return gained >= LEARNED and carried <= min(CARRIED, gained / 4)
