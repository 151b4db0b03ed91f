"""dead-units: units of a layer that answer 0 to every input, and go on doing so."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from .._language import t
from ._finding import Finding
from ._history import Columns, History, Track
from ._layers import by_layer
from ._progress import MUCH_LEFT, progress
from ._reported import reported
from ._samples import LAST, holds_since, readings, sampled_steps
from ._text import listed
from ._trouble import Trouble
from .causes import Case

SHARE = 0.5  # of a layer's units, on MANY_ROWS rows or more
MANY_ROWS = 512
FEW_ROWS = 8  # fewer say nothing of a unit: it may answer to the next
RISEN = 0.3  # beyond step 0: a healthy He-initialised net of 20 layers begins with 19 %, at most 34 %
ALL = 0.95  # counts without a rise: the layer was dead from the start
LIVE = 0.98
KINDS = ("ReLU6", "Hardswish", "Hardtanh", "Hardsigmoid", "Threshold", "Hardshrink", "Softshrink")
CAUSES = (
    "missing-zero-grad",
    "too-much-dropout",
    "too-much-weight-decay",
    "inputs-unscaled",
    "initial-weights-too-large",
    "over-smoothing",
    "learning-rate-too-high",
    "missing-warm-up",
    "dying-activation",
)


def dead_units(history: History) -> Iterator[Finding]:
    track = history.lead
    rows = _rows(track) if track else math.nan
    if track is None or rows < FEW_ROWS:
        return
    steps, layers = readings(track, sampled_steps(track, live=history.live), _shares)
    limit = LIVE if history.live else limit_of(rows)
    sick = {layer: since for layer, values in layers.items() if (since := _since(steps, values, limit)) is not None}
    if not sick or (history.live and len(steps) <= LAST):
        return
    yield _finding(history, track, sick, {layer: layers[layer] for layer in sick}, rows, len(layers))


def limit_of(rows: float) -> float:
    """The share of a layer that must be silent, by the number of rows seen at a step: 0.5 on 512, 0.9 on 32.

    A unit that answers to one row in a hundred is silent on 32 rows with probability 0.72, and is well. Where
    the number of rows is not known, the strictest.
    """
    if not rows > 0:
        return ALL
    return min(ALL, SHARE + 0.1 * max(0.0, math.log2(MANY_ROWS / rows)))


def _shares(rows: Columns) -> dict[str, float]:
    return by_layer(rows, "out_dead", "in_dead", lambda kind: kind.endswith("LU") or kind in KINDS, with_output=True)


def _since(steps: list[int], values: list[float], limit: float) -> int | None:
    if len(values) < 2:
        return None
    start = values[0] if math.isfinite(values[0]) else 0.0
    return holds_since(steps, values, max(limit, min(ALL, start + RISEN)))


def _rows(track: Track) -> float:
    """Rows that a sampled step shows, as a rule; NaN where that is not known."""
    rows = np.asarray(track.series.losses.get("rows", ()), dtype=np.float64)
    return float(np.median(rows[rows > 0])) if (rows > 0).any() else math.nan


def _finding(
    history: History, track: Track, sick: Mapping[str, int], values: Mapping[str, list[float]], rows: float, layers: int
) -> Finding:
    ends = {layer: float(np.min(values[layer][-LAST:])) for layer in sick}
    names = sorted(sick, key=lambda layer: -ends[layer])
    worst, first = ends[names[0]], min(sick.values())
    says = t(
        "{share} of the units after {layer} answer 0 to every input since step {step}, {start} at the first step; "
        "so it is in {sick} of {layers} layers: {names}",
        share=f"{worst:.0%}",
        layer=names[0],
        step=sick[names[0]],
        start=f"{values[names[0]][0]:.0%}",
        sick=len(sick),
        layers=layers,
        names=listed(names),
    )
    return reported(
        Case("dead-units", history, track, first, track.last_step),
        _severity(history, worst),
        says,
        [history.place(track, module=name) for name in names[:5]],
        {
            "share": worst,
            "share_at_start": values[names[0]][0],
            "threshold": limit_of(rows),
            "layers_affected": len(sick),
            "layers": layers,
            "rows": rows,
        },
        CAUSES,
    )


def _severity(history: History, worst: float) -> str:
    if history.live:
        return "serious"
    progressed = progress(history)
    if progressed.state in ("stuck", "constant", "plateau"):
        return "fatal" if worst >= LIVE else "serious"
    if progressed.state == "weak" or (worst >= LIVE and progressed.last > MUCH_LEFT * progressed.reference):
        return "serious"
    return "warning" if worst >= 0.9 else "note"


TROUBLE = Trouble(
    name="dead-units",
    summary="Units of a layer answer 0 to every input, and go on doing so.",
    measures="At sampled steps, by layer, the share of units (features, or channels of a convolution) that are exactly "
    "0 in every row of the batch: after an activation module, or at the input of the next layer where the activation "
    "is a function. The first sampled step, the last three and some between; the trouble must hold at the last three.",
    hurts="A unit that is 0 passes no gradient, so that the weights before it stay as they are: it never comes back. "
    "Where a whole layer is dead, nothing that lies before it can learn.",
    is_not=(
        "The share that is silent at the start, which healthy initial weights have too: 19 % of a 20-layer net "
        "initialised after He, 34 % at most.",
        "Units that answer to few inputs: with a small batch the share must be larger, and under "
        f"{FEW_ROWS} rows nothing is said.",
        "Constant inputs, such as pixels at the border of an image.",
        "A training whose loss does not stand still: a note, or a warning where nine tenths of a layer are dead.",
    ),
    threshold=f"{SHARE:.0%} of a layer on {MANY_ROWS} rows or more, a tenth more each time the rows halve, and "
    f"{RISEN:.0%} of the layer more than at the first step; or {ALL:.0%} from the start. Measured: up to 47 % are "
    "silent on 32 rows in a healthy net; 86 % to 97 % after Adam at a learning rate of 0.1.",
    causes=CAUSES,
    remedies="lr*0.1 and a fresh start; activation=relu>leaky_relu keeps a slope where the unit is silent.",
    rule=dead_units,
    sources=("He et al. 2015, arXiv:1502.01852",),
    leads_to=frozenset({"idle-parameter", "constant-output", "stalled-loss", "slow-loss", "vanishing-gradient"}),
)
