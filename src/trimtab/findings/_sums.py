"""Whether the loss is a sum over the batch, which is as many times its mean as the batch has rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

ROUNDING = 1e-7  # of a probability in float32
NEAR = 2.0  # factor about rows times chance within which an untrained model's summed loss is looked for


def summed_rows(first_loss: float, losses: Mapping[str, npt.NDArray[Any]]) -> int:
    """The rows that the loss is a sum over; 1 for a mean, and wherever that is not certain.

    Two things must agree. The first loss is near rows times chance, as a sum begins; and it is more than the
    mean can be with the outputs and targets of that step, so that a bad start is not taken for a sum.
    """
    if not len(losses.get("rows", ())):
        return 1
    first = {name: column[0] for name, column in losses.items()}
    rows, chance = int(first["rows"]), float(first["chance"])
    if rows <= 2 * NEAR or not chance > 0:
        return 1
    near = 1 / NEAR <= first_loss / (rows * chance) <= NEAR
    return rows if near and first_loss > _largest_mean(str(first["kind"]), first) else 1


def _largest_mean(kind: str, first: Mapping[str, Any]) -> float:
    """What the mean of the loss cannot exceed, from the ranges of its outputs and targets; inf where not known.

    Cross-entropy: log(sum exp z) - z_y <= log C + max z - min z. Probabilities that have come down to rounding bound
    nothing: a loss may be taken from the scores before them.
    """
    low, high = float(first["output_min"]), float(first["output_max"])
    furthest = max(abs(high - float(first["target_min"])), abs(float(first["target_max"]) - low))
    bounds = {
        "cross_entropy": math.log(max(int(first["classes"]), 1)) + high - low,
        "nll": math.inf if _cut_off(first, low) else -low,
        "bce": 100.0 if low > ROUNDING and high < 1 - ROUNDING else math.inf,  # PyTorch holds the logarithm above -100
        "bce_logits": math.log(2) + max(abs(low), abs(high)),
        "mse": furthest**2,
        "l1": furthest,
    }
    bound = bounds.get(kind, math.inf)
    return bound if np.isfinite(bound) else math.inf


def _cut_off(first: Mapping[str, Any], low: float) -> bool:
    """Logarithms of what softmax gave, of which one is no more than rounding: it may stand for any that is less."""
    return str(first.get("output_after")) == "softmax" and low < math.log(2 * ROUNDING)
