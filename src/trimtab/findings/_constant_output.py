"""constant-output: the model gives every input the same answer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .._language import t
from ._finding import Finding
from ._history import History, Track
from ._progress import ENOUGH_STEPS, progress
from ._reported import reported
from ._spread import LAST, SMALL, Spread, at_the_end, one_number, spread_of
from ._text import number
from ._trouble import Trouble
from .causes import Case

NOTHING = 1e-6  # of the scale on which the loss sees a difference: rounding
LIVE_LAST = 5
CAUSES = (
    "labels-invalid",
    "detached-graph",
    "output-activation-mismatch",
    "constant-initial-weights",
    "too-much-dropout",
    "too-much-weight-decay",
    "inputs-unscaled",
    "targets-unscaled",
    "initial-weights-too-large",
    "over-smoothing",
    "learning-rate-too-high",
    "saturating-activation",
    "learning-rate-too-low",
    "batch-too-small",
    "missing-activation",
    "dying-activation",
    "uninformative-data",
)


def constant_output(history: History) -> Iterator[Finding]:
    track = history.lead
    if track is None or history.adversarial:
        return
    found = spread_of(track)
    last = LIVE_LAST if history.live else LAST
    if len(found.steps) < last + 1 or len(track.finite_loss) < ENOUGH_STEPS:
        return
    state = progress(history).state
    if one_number(track):
        yield _finding(history, track, found, NOTHING, "constant")
        return
    limit = NOTHING if history.live or state not in ("stuck", "constant") else SMALL
    if state in ("learned", "unknown", "weak") or not at_the_end(found, last) <= limit:
        return
    yield _finding(history, track, found, limit, state)


def _finding(history: History, track: Track, found: Spread, limit: float, state: str) -> Finding:
    above = np.flatnonzero(found.shares > limit)
    first = int(found.steps[above[-1] + 1]) if len(above) else int(found.steps[0])
    says = t(
        "since step {step} the model gives every input the same answer: its outputs differ by {spread} from row to "
        "row, where {scale} would tell them apart",
        step=first,
        spread=number(float(found.spread[-1])),
        scale=number(float(found.scale[-1])),
    )
    if progress(history).learned:
        says = t("{says}; a loss below chance cannot come from such answers, and says nothing of them", says=says)
    return reported(
        Case("constant-output", history, track, first, track.last_step),
        "serious" if history.live or state in ("falling", "short") else "fatal",
        says,
        [history.place(track)] if history.several else [],
        {
            "output_spread": float(found.spread[-1]),
            "scale": float(found.scale[-1]),
            "share": float(found.shares[-1]),
            "threshold": limit,
        },
        CAUSES,
    )


TROUBLE = Trouble(
    name="constant-output",
    summary="The model gives every input the same answer.",
    measures="How far the outputs that the loss was given differ from row to row, at sampled steps: their standard "
    "deviation over the rows of the batch (root mean square over features), as a share of what the loss can tell "
    "apart. That is 1 for logits and log probabilities, a half for the probabilities of a binary loss, the standard "
    "deviation of the targets for a regression. It must be small at each of the last fifth of the sampled steps, "
    "three at least.",
    hurts="An answer that does not depend on the input is a constant, and can be had without a model.",
    is_not=(
        "The first steps of a model whose last layer begins at zero.",
        "A batch of fewer than four rows, or targets that do not differ.",
        "A run that ended better than chance by a tenth, unless all its outputs were one and the same number to the "
        "last bit: the loss may be taken from the scores before the last activation, and fall though the answers stay.",
        "Less than a tenth is chance too where the outputs are alike: outputs whose spread is "
        f"{SMALL:.0%} of the targets' explain at most {1 - (1 - SMALL) ** 2:.0%} of their variance.",
        "A loss that trimtab does not know: it may want any output.",
    ),
    threshold=f"{SMALL:g} of that scale where the loss stands still at chance; {NOTHING:g}, which is rounding, while "
    "it falls, after few steps, and while the training runs. Set by hand; how often it is right is measured by "
    "studies/calibration.",
    causes=CAUSES,
    remedies="What the cause asks for: output=logits for an activation too many, activation=relu>leaky_relu for dead "
    "units, inputs=standardise, init=he or lr*0.1.",
    rule=constant_output,
    leads_to=frozenset({"stalled-loss", "slow-loss", "idle-parameter"}),
)
