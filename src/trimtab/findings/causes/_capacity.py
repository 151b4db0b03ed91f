"""Causes that lie in how much the model can hold, and how much of it is left out while it trains."""

from __future__ import annotations

import math

from ..._language import t
from .._levels import level
from .._progress import tail
from .._text import number
from ._cause import STRONG, WEAK, Case, Clue, KnownCause
from ._readings import parameters, validation_losses

LEARNT_BY_HEART = 0.1  # of the validation loss
MUCH_DROPOUT = 0.7
HALF = 0.5
BEHIND = 0.8  # the validation loss, without dropout, over the training loss with it


def _over_capacity(case: Case) -> Clue | None:
    """It learns the rows by heart: the training loss goes to nothing where the validation loss does not."""
    training, validation = _training_loss(case), _validation_loss(case)
    count = parameters(case.track)
    if not count or not training < LEARNT_BY_HEART * validation:
        return None
    why = t(
        "{count} parameters; the training loss ended at {training}, the validation loss at {validation}",
        count=f"{count:,}",
        training=number(training),
        validation=number(validation),
    )
    return Clue(why, STRONG, ("dropout=0.1", "weight_decay=0.01"))


def _training_loss(case: Case) -> float:
    values = case.track.finite_loss
    return level(tail(values)).value if len(values) else math.nan


def _validation_loss(case: Case) -> float:
    values = validation_losses(case)
    return float(values[-1]) if len(values) else math.nan


def _too_much_dropout(case: Case) -> Clue | None:
    shares = [float(p) for p in case.track.series.info.get("dropout") or () if isinstance(p, int | float)]
    most = max(shares, default=0.0)
    training, validation = _training_loss(case), _validation_loss(case)
    behind = validation < BEHIND * training
    if most <= HALF and not (behind and most == HALF):
        return None
    why = t("dropout leaves out {share} of the units at each step", share=f"{most:.0%}")
    if behind:
        why = t(
            "{why}; without it the loss is {validation} (validation), with it {training}",
            why=why,
            validation=number(validation),
            training=number(training),
        )
    return Clue(why, STRONG if most >= MUCH_DROPOUT or behind else WEAK, ("dropout=0.1",))


CAUSES = (
    KnownCause(
        "over-capacity",
        "The model has room to learn every training row by heart, noise included, and does: its loss on them goes to "
        "nothing, that on others does not. More data, a smaller model, dropout=0.1, weight_decay=0.01, or an end of "
        "the training where the validation loss is least.",
        _over_capacity,
    ),
    KnownCause(
        "too-much-dropout",
        "So many units are left out at each step that the rest cannot do the task: the loss with dropout stays far "
        "above the loss without it. Usual: 0.1 to 0.5. Try dropout=0.1.",
        _too_much_dropout,
    ),
)
