"""The cause that lies in the labels."""

from __future__ import annotations

import math
import re

import numpy as np

from ..._language import t
from .._evidence import fan_in, weight_of
from .._history import Track
from .._text import number
from ._cause import EXACT, STRONG, WEAK, Case, Clue, KnownCause
from ._crashes import crash_clue
from ._process import exception_text
from ._readings import (
    CLASS_LOSSES,
    VALUE_LOSSES,
    counts_of,
    first_modules,
    largest_of,
    least_of,
    measured,
    mostly,
    weighted,
)

OUT_OF_BOUNDS = r"Assertion `t >= 0|device-side assert|all elements of target should be"
ENOUGH_LABELS = 64  # seen, before labels that are all the same say something
BINARY_LOSSES = ("bce", "bce_logits")
SLACK = 1e-3  # by which targets computed in floats may miss 0 to 1
SURELY_ALL = 256  # seen and all 0: other labels are under 3 / 256 of all, with 95 % confidence (the rule of three)


def _labels_invalid(case: Case) -> Clue | None:
    if case.trouble == "crash":
        if re.search(OUT_OF_BOUNDS, exception_text(case.history)):
            return Clue(t("a label lies outside of the classes that the model knows"), EXACT)
        return crash_clue(case, "labels-invalid")
    if not len(case.track.series.losses.get("kind", ())):
        return None
    return _out_of_range(case) or _constant(case) or _shifted(case)


def _out_of_range(case: Case) -> Clue | None:
    losses, kind = case.track.series.losses, case.track.loss_kind
    low, high = least_of(losses, "target_min"), largest_of(losses, "target_max")
    if kind in CLASS_LOSSES:
        return _beyond_the_classes(case)
    if kind in BINARY_LOSSES and (low < -SLACK or 1 + SLACK < high < np.inf):
        why = t(
            "the targets of {loss} go from {low} to {high}, where it wants 0 to 1: beyond them it has no least value",
            loss=kind,
            low=number(low),
            high=number(high),
        )
        return Clue(why, EXACT, _into_range(case, low, high))
    return None


def _into_range(case: Case, low: float, high: float) -> tuple[str, ...]:
    """What makes two labels 0 and 1; nothing for other targets."""
    losses = case.track.series.losses
    if not mostly(losses, "targets_whole") or counts_of(losses, "target_values").max(initial=0) > 2:
        return ()
    if (low, high) == (-1, 1):
        return ("y = (y + 1) / 2",)
    return ("y = y - y.min()",) if high - low == 1 else ()


def beyond_since(track: Track) -> int | None:
    """The first sampled step with rows whose label is none of the classes and which count in the loss; None for
    none."""
    losses = track.series.losses
    rows = np.flatnonzero(np.asarray(losses.get("labels_beyond", ()), dtype=np.float64) > 0)
    return int(losses["step"][rows[0]]) if len(rows) else None


def _beyond_the_classes(case: Case) -> Clue | None:
    """Where it is not refused, as by XLA.

    The script may mask such rows afterwards, unless the record says that they count; a label below 0 is the usual mark
    of one that is. There is nothing to mask where the model has one class only, or where the labels are just those of
    the classes counted from 1.
    """
    losses = case.track.series.losses
    names = ("classes", "target_min", "target_max")
    classes, lowest, highest = (np.asarray(losses.get(name, ()), dtype=float) for name in names)
    if not len(classes) or len(classes) != len(highest) or not len(counts_of(losses, "labels_seen")):
        return None
    count = bool((measured(losses, "labels_beyond") > 0).any())
    beyond = (classes > 0) & ((highest >= classes) | (count & (lowest < 0)))
    if not beyond.any():
        return None
    known, low, high = int(classes[beyond][0]), lowest[beyond].min(), highest[beyond].max()
    why = t(
        "there are labels from {low} to {high}, and the model has outputs for 0 to {last} only: those beyond belong to "
        "none of them, and are not refused",
        low=number(low),
        high=number(high),
        last=known - 1,
    )
    from_one = low >= 1 and high == known
    remedy = "y = y - y.min()" if from_one else f"keep = (y >= 0) & (y < {known})"
    return Clue(why, EXACT if count or known == 1 or from_one else STRONG, (remedy,))


def _constant(case: Case) -> Clue | None:
    losses, kind = case.track.series.losses, case.track.loss_kind
    if case.history.adversarial or _seen(case) < ENOUGH_LABELS or len(losses["kind"]) < 2:
        return None
    labels = counts_of(losses, "labels_seen")
    if kind in CLASS_LOSSES and len(labels) and labels[-1] == 1:
        label = least_of(losses, "target_min")
        proven = label or (_seen(case) >= SURELY_ALL and _classifies(case))
        return Clue(t("every label is {label}", label=number(label)), EXACT if proven else STRONG)
    low, high = least_of(losses, "target_min"), largest_of(losses, "target_max")
    # A target that is 0 throughout is how a residual or a penalty is written.
    if kind not in CLASS_LOSSES and low == high and (low or kind not in VALUE_LOSSES):
        return Clue(t("every target is {target}", target=number(low)), EXACT)
    return None


def _classifies(case: Case) -> bool:
    """The last dense layer has as many outputs as the loss has classes, three at least.

    A contrastive loss, which puts the one that belongs first and gives label 0 to every row, takes similarities of what
    the last layer gives, and their number is another. Of two classes the first is often a rare event's absence.
    """
    classes = counts_of(case.track.series.losses, "classes")
    modules = first_modules(case.track)
    if not len(classes) or classes[-1] < 3 or not modules or not (layers := weighted(modules)):
        return False
    weight = weight_of(case.track, str(modules["module"][layers[-1]]))
    if weight is None or len(weight["shape"]) != 2:
        return False
    return math.prod(int(n) for n in weight["shape"]) == fan_in(weight) * int(classes[-1])


def _shifted(case: Case) -> Clue | None:
    losses = case.track.series.losses
    classes = counts_of(losses, "classes")
    if case.track.loss_kind not in CLASS_LOSSES or not len(classes) or not 3 <= classes[-1] <= _seen(case) / 32:
        return None
    low, high = least_of(losses, "target_min"), largest_of(losses, "target_max")
    if low < 1 or high != classes[-1] - 1:
        return None
    why = t("no label is 0: they go from {low} to {high}, as if they were counted from 1", low=low, high=high)
    return Clue(why, WEAK)


def _seen(case: Case) -> float:
    """Labels in the rows of the table of losses."""
    return float(counts_of(case.track.series.losses, "rows").sum())


def same_label_batches(case: Case) -> float:
    """Share of the sampled batches in which every label is the same, where several labels occur; NaN if not known."""
    losses = case.track.series.losses
    labels, rows = counts_of(losses, "labels_seen"), counts_of(losses, "rows")
    low, high = measured(losses, "target_min"), measured(losses, "target_max")
    if case.track.loss_kind not in CLASS_LOSSES or not len(labels) or labels[-1] < 2 or len(low) < 4:
        return float("nan")
    if not len(rows) or np.median(rows) < 8 or len(low) != len(high):
        return float("nan")
    return float((low == high).mean())


CAUSES = (
    KnownCause(
        "labels-invalid",
        "A label lies outside of the classes that the model has (or of 0 to 1 for a binary loss), is shifted by one, "
        "or is the same for every row. Print a few rows of the batch that the loss function gets.",
        _labels_invalid,
    ),
)
