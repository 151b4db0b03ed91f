"""Causes that lie in the data: their scale, single batches, their size, what they say at all."""

from __future__ import annotations

import math

import numpy as np

from ..._language import t
from .._carried import perhaps_nothing_carries
from .._evidence import HEALTHY_UPDATE, LARGE_UPDATE, update_ratios
from .._levels import noise
from .._progress import CLEAR_GAIN, ENOUGH_STEPS, NO_GAIN, Progress, progress
from .._spread import answers_alike
from .._text import number
from ._batches import bad_batch
from ._cause import EXACT, STRONG, WEAK, Case, Clue, KnownCause
from ._readings import (
    VALUE_LOSSES,
    counts_of,
    data_row,
    first_modules,
    kinds,
    measured,
    median_of,
    reading,
    steps_with_modules,
    validation_losses,
)

WIDE = 3.0  # root mean square of inputs that were not scaled (docs/science.md, 10); 1 when standardised
NARROW = 0.03  # largest input where they were scaled twice (pixels: 1/255); sparse inputs have a few large ones
FAR_START = 2.0  # times chance: where scaled inputs begin is under it (log C + 1/2 for logits of deviation 1)
FAR_TARGETS, NEAR_TARGETS = 10.0, 0.01  # root mean square of a regression's targets
SMALL_BATCH = 16  # rows
TINY_BATCH = 4
NOISY = 0.3  # standard deviation of the loss from batch to batch, of its level


def _inputs_unscaled(case: Case) -> Clue | None:
    modules = first_modules(case.track)
    row = data_row(modules)
    if row is None:
        return None
    rms, largest = reading(modules, "in_rms", row), reading(modules, "in_max", row)
    if not (rms > WIDE or 0 < largest < NARROW) or not _is_to_blame(case):
        return None
    why = t(
        "the inputs have a root mean square of {rms} and reach {largest} (standardised: 1 and about 4)",
        rms=number(rms),
        largest=number(largest),
    )
    return Clue(why, STRONG, ("inputs=standardise",))


def _is_to_blame(case: Case) -> bool:
    """Of two troubles that come as often with inputs of any scale: the answers were far off at the start, or the
    gradient of everything was lost."""
    if case.trouble == "overfitting":
        state = progress(case.history)
        return state.by_chance and state.first > FAR_START * state.reference
    if case.trouble == "idle-parameter":
        norms = np.asarray(case.track.columns["grad_norm_raw"], dtype=np.float64)
        return len(norms) >= ENOUGH_STEPS and not norms[-ENOUGH_STEPS // 2 :].any()
    return True


def _targets_unscaled(case: Case) -> Clue | None:
    """A regression whose targets lie far from the scale at which a net begins to answer."""
    losses = case.track.series.losses
    if case.track.loss_kind not in VALUE_LOSSES:
        return None
    mean, std = median_of(losses, "target_mean"), median_of(losses, "target_std")
    rms = math.hypot(mean, std)
    if not rms > FAR_TARGETS and not 0 < rms < NEAR_TARGETS:
        return None
    begins = measured(losses, "output_std")
    why = t(
        "the targets have mean {mean} and standard deviation {std} (standardised: 0 and 1)",
        mean=number(mean),
        std=number(std),
    )
    if len(begins) and float(begins[0]) > 0:
        why = t("{why}; the outputs began with a standard deviation of {begins}", why=why, begins=number(begins[0]))
    return Clue(why, STRONG, ("targets=standardise",))


def _batch_too_small(case: Case) -> Clue | None:
    """The loss swings from batch to batch by much of its own size, and a batch has few rows."""
    sizes, values = counts_of(case.track.series.losses, "rows"), case.track.finite_loss
    if not len(sizes) or len(values) < 20 or values.min() < 0:
        return None
    rows, half = float(np.median(sizes)), values[-(len(values) // 2) :]
    level = float(np.median(half))
    swing = noise(half) / level if level > 0 else 0.0
    limit = NOISY if rows > TINY_BATCH else NOISY / 3
    batch_norm = any(kind.startswith("BatchNorm") for kind in kinds(first_modules(case.track)))
    if rows > SMALL_BATCH or not (swing > limit or (batch_norm and rows <= TINY_BATCH)):
        return None
    why = t(
        "a batch has {rows} rows, and the loss swings by {share} of its level from one to the next",
        rows=f"{rows:.0f}",
        share=f"{swing:.0%}",
    )
    return Clue(why, STRONG if swing > limit else WEAK, ("batch_size=64",))


def _uninformative(case: Case) -> Clue | None:
    """Inputs that are all the same; or a loss that rests at chance though the weights move as they should."""
    if (found := _same_inputs(case)) is not None:
        return found
    state = progress(case.history)
    if case.trouble == "overfitting":
        return _nothing_to_learn(case, state)
    ratios = update_ratios(case.track)
    ratio = float(np.median(ratios)) if ratios else math.nan
    moving = HEALTHY_UPDATE / 2 <= ratio <= LARGE_UPDATE
    at_chance = state.by_chance and (abs(state.gain) < NO_GAIN or answers_alike(case.track))
    if not at_chance or not moving:
        return None
    why = t(
        "the loss rests at {loss}, the best constant answer gives {chance}, and the weights move as they should: the "
        "inputs seem to say nothing about the targets",
        loss=number(state.last),
        chance=number(state.reference),
    )
    return Clue(why, WEAK)


def _nothing_to_learn(case: Case, state: Progress) -> Clue | None:
    """Validation was no better than chance, however often it was measured."""
    values = validation_losses(case)
    best = float(np.min(values, initial=np.inf))
    if not state.by_chance or not math.isfinite(best):
        return None
    gained, carried = state.reference - state.last, state.reference - best
    if carried > min(gained / 4, CLEAR_GAIN * state.reference) and not perhaps_nothing_carries(
        case.track, state, values
    ):
        return None
    why = t(
        "the validation loss was never under {best}, where the best constant answer gives {chance}: the inputs seem to "
        "say nothing about the targets, as where rows and labels were shuffled apart",
        best=number(best),
        chance=number(state.reference),
    )
    return Clue(why, STRONG)


def _same_inputs(case: Case) -> Clue | None:
    """Every row of every sampled batch is the same."""
    spreads = []
    for step in steps_with_modules(case.track):
        modules = case.track.series.modules(step)
        row = data_row(modules) if modules and len(modules.get("call", ())) else None
        if row is not None:
            spreads.append(reading(modules, "in_spread", row))
    known = [spread for spread in spreads if math.isfinite(spread)]
    if len(known) < 2 or any(known):
        return None
    sizes = counts_of(case.track.series.losses, "rows")
    if not len(sizes) or np.median(sizes) < 2:
        return None
    return Clue(t("every row of a batch has the same inputs"), EXACT)


def _validation_leak(case: Case) -> Clue | None:
    """Rows that are in both sets; seen exactly, and of those only that were compared."""
    events = case.history.events_of("validation_rows", case.track)
    if not events:
        return None
    data = events[-1].data
    why = t(
        "{found} of {compared} different rows of validation are, to the bit, among the {trained} rows of training that "
        "were looked at",
        found=data.get("trained_on"),
        compared=data.get("compared"),
        trained=f"{int(data.get('trained') or 0):,}",
    )
    return Clue(why, EXACT, ("train_test_split(X, y)  # before rows are copied or augmented",))


CAUSES = (
    KnownCause(
        "inputs-unscaled",
        "The inputs are far from mean 0 and standard deviation 1: pixels from 0 to 255, amounts in thousands, a column "
        "of years. The first layer's outputs, and its gradients, are as much larger; no single learning rate suits "
        "it and the others. Try inputs=standardise.",
        _inputs_unscaled,
    ),
    KnownCause(
        "targets-unscaled",
        "A regression's targets are far from mean 0 and standard deviation 1. The first losses, and with a squared "
        "error the first gradients, are in proportion to that, and the output layer has a long way to go before "
        "anything else is learned. Try targets=standardise.",
        _targets_unscaled,
    ),
    KnownCause(
        "bad-batch",
        "A batch holds what the others do not: a NaN, an infinity, an outlier, or rows of a single class because the "
        "data are not shuffled. Look at the data of that step.",
        bad_batch,
    ),
    KnownCause(
        "batch-too-small",
        "Few rows make a gradient that is mostly noise: steps go to and fro, and what a hundred of them learn is "
        "little. With batch normalisation each row also depends on the few others. Try batch_size=64.",
        _batch_too_small,
    ),
    KnownCause(
        "uninformative-data",
        "The inputs say nothing about the targets that this model could use, are all the same, or were shuffled apart "
        "from them.",
        _uninformative,
    ),
    KnownCause(
        "validation-leak",
        "Validation is measured on rows that the model trains on, all of them or some: the same arrays were given for "
        "both, or rows were copied (to balance classes, to augment) before they were split. It falls with the training "
        "loss, and says nothing of other data. Split first.",
        _validation_leak,
    ),
)
