"""The cause that lies in the choice of the loss function, or in how it is called."""

from __future__ import annotations

from ..._language import t
from .._text import number
from ._cause import EXACT, STRONG, WEAK, Case, Clue, KnownCause
from ._readings import VALUE_LOSSES, counts_of, largest_of, least_of, median_of, mostly

FEW_VALUES = 20  # different whole targets: more are counts or amounts, not classes


def _loss_mismatch(case: Case) -> Clue | None:
    losses, kind = case.track.series.losses, case.track.loss_kind
    if mostly(losses, "shapes_differ"):
        why = t(
            "outputs and targets of {loss} have different shapes and were broadcast: each output is held against the "
            "targets of other rows too",
            loss=kind,
        )
        return Clue(why, EXACT, ("output.squeeze(-1)  # or target.unsqueeze(-1): one shape for both",))
    classes = counts_of(losses, "classes")
    if kind == "cross_entropy" and len(classes) and classes.max() == 1:
        why = t("cross-entropy of a single class is 0 whatever the output: a single unit wants a binary loss")
        return Clue(why, EXACT, ("loss=bce_logits",))
    if kind not in VALUE_LOSSES:
        return None
    if median_of(losses, "targets_one_hot") > 0.99:
        why = t("{loss} is given one-hot classes as targets", loss=kind)
        return Clue(why, STRONG, ("loss=cross_entropy",))
    return _class_numbers(case, kind)


def _class_numbers(case: Case, kind: str) -> Clue | None:
    """Whole targets of few values: classes 0, 1, 2... for certain where they leave no gap and begin at 0."""
    losses = case.track.series.losses
    values, rows = counts_of(losses, "target_values"), counts_of(losses, "rows")
    if not mostly(losses, "targets_whole") or not len(values) or not len(rows):
        return None
    most = float(values.max())
    if not 2 <= most <= min(FEW_VALUES, rows.max() / 2):
        return None
    low, high = least_of(losses, "target_min"), largest_of(losses, "target_max")
    gapless = low == 0 and high + 1 == most
    why = t(
        "the targets of {loss} are {count} different whole numbers from {low} to {high}: classes, not amounts",
        loss=kind,
        count=f"{most:.0f}",
        low=number(low),
        high=number(high),
    )
    return Clue(why, STRONG if gapless else WEAK, ("loss=bce_logits" if most == 2 else "loss=cross_entropy",))


CAUSES = (
    KnownCause(
        "loss-mismatch",
        "The loss does not fit the task: a squared error on classes, whose gradient dies where a saturated output is "
        "most wrong; cross-entropy on a single unit; outputs of shape (N, 1) against targets of shape (N,), which are "
        "broadcast to all pairs, so that the best answer is the mean. Give classes to cross-entropy, and outputs the "
        "shape of their targets. Try loss=cross_entropy.",
        _loss_mismatch,
    ),
)
