"""Single batches that differ from the others, and batches that all differ from the data."""

from __future__ import annotations

import math
import re

import numpy as np

from ..._language import t
from .._evidence import LARGE_UPDATE, update_ratios
from .._text import number
from ._cause import EXACT, STRONG, WEAK, Case, Clue
from ._jumps import jump_before, loss_jumps
from ._labels import same_label_batches
from ._operation import forward_operation, nonfinite_event, shown
from ._readings import data_row, past_median, reading, row_of
from ._step_size import too_high

OUTLIER = 5.0  # times the largest input of the other sampled batches
MUCH = 10.0  # times: the loss of a batch that no step of ordinary size explains
UNSHUFFLED = 0.9  # of the sampled batches hold a single class
ONE_CLASS = ("loss-spike", "oscillating-loss", "slow-loss", "stalled-loss", "constant-output", "diverging-loss")


def bad_batch(case: Case) -> Clue | None:
    if case.trouble == "non-finite":
        return _of_a_nan(case)
    if case.trouble in ONE_CLASS and (share := same_label_batches(case)) >= UNSHUFFLED:
        why = t(
            "{share} of the sampled batches hold rows of a single class: the data are not shuffled",
            share=f"{share:.0%}",
        )
        return Clue(why, STRONG)
    return _outlier(case) or _high_at_once(case)


def _of_a_nan(case: Case) -> Clue | None:
    """The batch held what is not finite; or nothing else explains a NaN."""
    step, op = int(case.track.step[row_of(case)]), forward_operation(case)
    if "input is already not finite" in str(op.get("what") or ""):
        why = t(
            "what the first operation to use it ({op}) was given held NaN or infinity{values}",
            op=str(op.get("op") or "?").lower(),
            values=shown(op),
        )
        return Clue(why, STRONG)
    if op:
        return None
    if layer := _given_what_is_not_finite(case):
        why = t(
            "the gradient of {layer}'s weight is not finite and that of its bias is: the batch of step {step} holds "
            "NaN or infinity",
            layer=layer,
            step=step,
        )
        return Clue(why, STRONG)
    if too_high(case) is not None:
        return None
    if not row_of(case):
        why = t(
            "it is the very first step: look at the batch of step {step} for NaN, infinity or a label out of range",
            step=step,
        )
    else:
        why = t(
            "the loss and the gradient were ordinary until then: look at the batch of step {step} for NaN, infinity or "
            "a label out of range",
            step=step,
        )
    return Clue(why, WEAK)


def _given_what_is_not_finite(case: Case) -> str:
    """The first layer, where its weight alone has a gradient that is not finite; empty where it is otherwise.

    That gradient is the product of the layer's input with what the bias gets the sum of, which is finite.
    """
    bad = nonfinite_event(case).get("tensors")
    tensors = [tensor for tensor in case.track.series.info.get("tensors", ()) if isinstance(tensor, dict)]
    first = next((tensor for tensor in tensors if len(tensor.get("shape", ())) > 1), None)
    if first is None or bad != [first.get("name")]:
        return ""
    layer = _layer_of(str(first["name"]))
    has_bias = any(len(other.get("shape", ())) == 1 and _layer_of(str(other["name"])) == layer for other in tensors)
    return layer if has_bias else ""


def _layer_of(tensor: str) -> str:
    return re.sub(r"[./][^./]*$", "", tensor)


def _outlier(case: Case) -> Clue | None:
    """The inputs of a batch sampled at the trouble reach far beyond those of the other sampled batches."""
    sampled = np.asarray(case.track.series.sampled_steps)
    near = sampled[(sampled >= case.first_step - 2) & (sampled <= case.first_step)]
    others = sampled[sampled < case.first_step - 2][-10:]
    usual = [size for step in others if math.isfinite(size := _largest_input(case, int(step)))]
    if len(usual) < 3:
        return None
    for step in near:
        size = _largest_input(case, int(step))
        if size > OUTLIER * max(usual):
            why = t(
                "an input of the batch of step {step} is {size}, where others reach {usual}",
                step=int(step),
                size=number(size),
                usual=number(max(usual)),
            )
            return Clue(why, EXACT)
    return None


def _largest_input(case: Case, step: int) -> float:
    modules = case.track.series.modules(step)
    row = data_row(modules) if modules and len(modules.get("call", ())) else None
    return math.nan if row is None else reading(modules, "in_max", row)


def _high_at_once(case: Case) -> Clue | None:
    """A loss that was high in the very step in which the gradient jumped, after updates of ordinary size.

    The loss of a step is measured before its update: it is the batch's doing, or that of earlier updates. A batch
    whose successor's loss is ordinary again did it alone.
    """
    jump = jump_before(case)
    row = row_of(case) if jump is None else jump.row
    if not loss_jumps(case.track, row):
        return None
    loss = np.asarray(case.track.columns["loss"], dtype=np.float64)
    usual = past_median(loss, row)
    times = float(loss[row]) / usual if usual > 0 else math.nan
    why = t(
        "the loss of the batch of step {step} was {high} (before: {usual}) at once",
        step=int(case.track.step[row]),
        high=number(float(loss[row])),
        usual=number(usual),
    )
    if jump is not None:
        why = t("{why}, with a gradient {times} times as long", why=why, times=number(jump.factor))
    certain = _alone(case, row) or (times > MUCH and _small_updates(case, row))
    return Clue(why, STRONG if certain else WEAK, () if case.track.clipped else ("clip=global:1.0",))


def _alone(case: Case, row: int) -> bool:
    after = row + 1
    return (
        after < len(case.track)
        and bool(np.isfinite(case.track.columns["loss"][after]))
        and not loss_jumps(case.track, after)
    )


def _small_updates(case: Case, row: int) -> bool:
    """The updates before it were measured, and none of them could have broken the weights."""
    ratios = update_ratios(case.track, until=int(case.track.step[row]) - 1)
    return len(ratios) >= 3 and max(ratios) < LARGE_UPDATE / 5
