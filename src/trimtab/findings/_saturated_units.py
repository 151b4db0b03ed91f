"""saturated-units: the units of a layer lie where their activation is flat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._language import t
from ._finding import Finding
from ._history import Columns, History
from ._layers import by_layer
from ._progress import progress
from ._reported import reported
from ._samples import LAST, holds_since, readings, sampled_steps
from ._text import listed
from ._trouble import Trouble
from .causes import Case

SHARE = 0.8  # of a layer's entries with a slope under a tenth of the largest
MOST = 0.9  # the same, where the training came out well or is not judged
CAUSES = (
    "missing-zero-grad",
    "inputs-unscaled",
    "initial-weights-too-large",
    "unclipped-recurrence",
    "learning-rate-too-high",
    "saturating-activation",
    "depth-without-normalisation",
)


def saturated_units(history: History) -> Iterator[Finding]:
    track = history.lead
    if track is None or history.live:
        return
    steps, layers = readings(track, sampled_steps(track), _shares)
    severity = _severity(progress(history).state)
    limit = SHARE if severity == "serious" else MOST
    sick = {
        layer: since for layer, values in layers.items() if (since := holds_since(steps, values, limit)) is not None
    }
    if not sick or len(steps) < 2:
        return
    ends = {layer: float(np.min(layers[layer][-LAST:])) for layer in sick}
    names = sorted(sick, key=lambda layer: -ends[layer])
    worst = names[0]
    says = t(
        "{share} of what comes out of the activation after {layer} lies where it is flat since step {step}; so it is "
        "in {sick} of {layers} layers: {names}",
        share=f"{ends[worst]:.0%}",
        layer=worst,
        step=sick[worst],
        sick=len(sick),
        layers=len(layers),
        names=listed(names),
    )
    yield reported(
        Case("saturated-units", history, track, min(sick.values()), track.last_step),
        severity,
        says,
        [history.place(track, module=name) for name in names[:5]],
        {
            "share": ends[worst],
            "share_at_start": layers[worst][0],
            "threshold": limit,
            "layers_affected": len(sick),
            "layers": len(layers),
        },
        CAUSES,
    )


def _shares(rows: Columns) -> dict[str, float]:
    return by_layer(rows, "out_saturated", "in_saturated", lambda kind: True, with_output=False)


def _severity(state: str) -> str:
    """Trained tanh and sigmoid nets work in their flat parts too: alone it is a note."""
    if state in ("stuck", "constant", "plateau"):
        return "serious"
    return "warning" if state == "weak" else "note"


TROUBLE = Trouble(
    name="saturated-units",
    summary="The units of a layer lie where their activation is flat, so that hardly any gradient passes.",
    measures="At sampled steps, by layer, the share of entries after a sigmoid, a tanh or one of their like at which "
    "the slope is under a tenth of the largest slope: after an activation module, or at the input of the next layer "
    "where the activation is a function. It must hold at the last three sampled steps.",
    hurts="Where the activation is flat its slope, and with it the gradient, is close to 0: the layers before it "
    "hardly learn.",
    is_not=(
        "The activation of the outputs, which a trained classifier drives into its flat parts.",
        "Gates inside an LSTM or a GRU, which are not seen.",
        "A training whose loss does not stand still: a note, since trained nets use the flat parts.",
        "ReLU and its like, whose units are dead instead.",
    ),
    threshold=f"{SHARE:.0%} of a layer's entries where the loss stands still at chance, {MOST:.0%} elsewhere. Shares "
    "of the slope hold for any activation and any scale, as a limit on its input would not. Set by hand; how often it "
    "is right is measured by studies/calibration.",
    causes=CAUSES,
    remedies="inputs=standardise where the inputs are large, init=xavier, lr*0.1, activation=sigmoid>relu "
    "or norm=layer.",
    rule=saturated_units,
    sources=("Glorot and Bengio 2010, sec. 3",),
    leads_to=frozenset({"vanishing-gradient", "constant-output", "stalled-loss", "slow-loss"}),
)
