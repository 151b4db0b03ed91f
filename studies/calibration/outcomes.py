"""Which runs were sick and which healthy, by what the script itself would know; no rule of trimtab has a say.

A healthy recipe is healthy if its held-out gain is at least NEAR_BEST of its family's median and its held-out loss does
not show overfitting (below); else it is left out.

A planted recipe is sick if it lost more than half of its twin's held-out gain, or ended in an exception or with
something not finite. Four kinds of fault need another measure:

- spike: what happens once and passes. The loss of the ten steps after it, against the twin's on the same batches, is
  more than twice as high.
- held-out loss: it ends more than a quarter above its least, and has lost again over a quarter of what it had gained
  since the first validation: the run would have been better cut short. (The least and the end are means of two passes.)
- construction: parameters that get no gradient get none, and ranks that part train models of their own, whatever the
  score.

A planted fault that did no harm is neither sick nor healthy, nor is one whose twin is not healthy itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .corpus import Recipe
from .packing import Trained

NEAR_BEST = 0.8
LOST_SHARE = 0.5
SPIKE = 2.0
SPIKE_STEPS = 10
OVERFIT = 1.25
LOST_AGAIN = 0.25
DIVERGED = 1.5
FELL = 0.1

SICK, HEALTHY, HARMLESS, MIDDLING = "sick", "healthy", "harmless", "middling"


@dataclass(frozen=True)
class Label:
    """`trouble`: of a sick run, the one of its fault's troubles under which it is counted."""

    group: str
    why: str
    trouble: str = ""


def labels(runs: Iterable[Trained]) -> dict[str, Label]:
    """A label for every run, by name."""
    by_name = {run.name: run for run in runs}
    usual = _usual_gains(by_name.values())
    return {name: _label(run, by_name, usual) for name, run in by_name.items()}


def _usual_gains(runs: Iterable[Trained]) -> dict[str, float]:
    gains = defaultdict(list)
    for run in runs:
        if not run.recipe.fault and math.isfinite(run.gain):
            gains[run.recipe.family].append(run.gain)
    return {family: float(np.median(values)) for family, values in gains.items()}


def _label(run: Trained, runs: Mapping[str, Trained], usual: Mapping[str, float]) -> Label:
    twin = runs.get(run.recipe.twin.name)
    if twin is None or not twin.gain >= NEAR_BEST * usual[run.recipe.family]:
        return Label(MIDDLING, "its healthy twin did not train well")
    if not run.recipe.fault and (why := _overfit(run)):
        return Label(MIDDLING, why)
    if not run.recipe.fault:
        return Label(HEALTHY, f"held-out gain {run.gain:.2f}, usual in the family {usual[run.recipe.family]:.2f}")
    why = _harm(run, twin)
    if not why:
        return Label(HARMLESS, f"held-out gain {run.gain:.2f} against {twin.gain:.2f} of the twin")
    return Label(SICK, why, shown_as(run))


def _harm(run: Trained, twin: Trained) -> str:
    """What harm the fault did; empty for none."""
    fault = run.recipe.planted
    assert fault is not None
    if run.status:
        return run.error
    if not math.isfinite(run.gain):
        return "outputs or weights are not finite"
    if run.gain < LOST_SHARE * twin.gain:
        return f"held-out gain {run.gain:.2f} against {twin.gain:.2f} of the twin"
    if fault.harm == "construction":
        return "by construction"
    if fault.harm == "spike" and (times := _spike(run, twin)) > SPIKE:
        return f"the loss after it is {times:.1f} times the twin's"
    if fault.harm == "held-out loss":
        return _overfit(run)
    return ""


def losses(run: Trained) -> np.ndarray:
    """The training loss of every step."""
    series = run.record.series()
    return np.asarray(series[0].steps["loss"], dtype=np.float64) if series else np.empty(0)


def _spike(run: Trained, twin: Trained) -> float:
    own, other = losses(run), losses(twin)
    at = 2 * len(own) // 3 + 1
    after = slice(at, at + SPIKE_STEPS)
    return float(np.mean(own[after]) / max(np.mean(other[after]), 1e-12)) if len(own) == len(other) else math.nan


def _overfit(run: Trained) -> str:
    """How far the held-out loss has risen again; empty where that is little."""
    held_out = np.array([loss for _, _, loss, _ in run.curve])
    if len(held_out) < 4 or not np.isfinite(held_out).all():
        return ""
    pairs = (held_out[1:] + held_out[:-1]) / 2
    least, end = float(pairs.min()), float(pairs[-1])
    risen = end > OVERFIT * least and end - least > LOST_AGAIN * (float(held_out[0]) - least)
    return f"the held-out loss ends at {end / least:.1f} times its least" if risen else ""


def shown_as(run: Trained) -> str:
    """The row of the tables: the fault's first trouble, or, where it shows in several ways, what the loss came to."""
    fault = run.recipe.planted
    assert fault is not None
    first, own = fault.troubles[0], losses(run)
    if not len(own):
        return first
    end, spread = float(np.mean(own[-max(5, len(own) // 10) :])), abs(float(own[0]))
    if first == "diverging-loss":
        if not np.isfinite(own).all():
            return "non-finite"
        if abs(end - own[0]) > (DIVERGED - 1) * spread and not 0 <= end < own[0]:
            return "diverging-loss"
        return "stalled-loss" if "stalled-loss" in fault.troubles else first
    if first == "stalled-loss" and "slow-loss" in fault.troubles and end < own[0] - FELL * spread:
        return "slow-loss"
    return first


def half(recipe: Recipe) -> str:
    return "held out" if recipe.held_out else "calibration"
