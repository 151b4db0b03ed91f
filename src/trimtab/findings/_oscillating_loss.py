"""oscillating-loss: the loss swings to and fro, and gets nowhere for it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .._language import t
from ._evidence import LARGE_UPDATE, update_ratios
from ._finding import Finding
from ._history import Floats, History, Track
from ._levels import block_medians, trend
from ._lost import lost
from ._progress import PEAKED, Progress, progress, tail
from ._reported import reported
from ._swings import FEW, LONGEST, Swings, swings
from ._text import number
from ._trouble import Trouble
from .causes import Case

SIZE = 0.1  # standard deviation of the log loss
LARGE_SIZE = 0.3  # the same, of swings without a period
HIGH = 0.05  # of the reference: a loss below has nothing to gain
FALLING = -2.6  # Mann-Kendall z
REACH = 1.0  # what a step can change the loss by, to first order, as a share of a swing
CAUSES = (
    "learning-rate-too-high",
    "batch-too-small",
    "missing-zero-grad",
    "inputs-unscaled",
    "targets-unscaled",
    "missing-warm-up",
)


def oscillating_loss(history: History) -> Iterator[Finding]:
    track = history.lead
    if history.live or history.adversarial or track is None or lost(history, track) is not None:
        return
    if math.isfinite(progress(history).peaks):
        yield _thrown_up(history, track, progress(history))
        return
    values = track.finite_loss
    end = values[-max(FEW, len(values) // 2) :][-LONGEST:]
    if len(values) < FEW or values.min() <= 0 or trend(end) < FALLING:
        return
    state = progress(history)
    if not float(np.median(end)) > HIGH * abs(state.reference):
        return
    found = swings(end)
    if found is not None and found.size >= SIZE and _by_the_steps(track, end):
        yield _finding(history, track, found, state.learned)
    elif (size := _tossed(track, end)) >= LARGE_SIZE:
        yield _finding(history, track, Swings(math.nan, size, math.nan), state.learned)


def _by_the_steps(track: Track, end: Floats) -> bool:
    """The steps are long enough to make such swings: to first order, |g| |update| is as large. NaN: not measured."""
    swing = 2.0 * float(np.std(end))
    reaches = [_reach(track, int(step)) for step in _last_sampled(track)]
    known = [reach for reach in reaches if math.isfinite(reach)]
    return not known or float(np.median(known)) >= REACH * swing


def _reach(track: Track, step: int) -> float:
    """The sum over tensors of |g| |update|: what the step can change the loss by, to first order, at most."""
    rows = track.series.tensors(step)
    if "update_norm" not in rows or not len(rows["update_norm"]):
        return math.nan
    product = np.asarray(rows["grad_norm"], dtype=np.float64) * np.asarray(rows["update_norm"], dtype=np.float64)
    return float(np.nansum(product)) if np.isfinite(product).any() else math.nan


def _tossed(track: Track, end: Floats) -> float:
    """The standard deviation of the log loss where the steps change the weights by a tenth of their size; else 0."""
    ratios = update_ratios(track)[1:]
    later = ratios[len(ratios) // 2 :]
    return float(np.std(np.log(end))) if later and float(np.median(later)) > LARGE_UPDATE else 0.0


def _last_sampled(track: Track, limit: int = 6) -> list[int]:
    sampled = np.asarray(track.series.sampled_steps)
    late = sampled[len(sampled) // 2 :]
    return [int(late[i]) for i in sorted(set(np.linspace(0, len(late) - 1, limit).astype(int)))] if len(late) else []


def _finding(history: History, track: Track, found: Swings, learned: bool) -> Finding:
    values = track.finite_loss
    first = _since(values)
    end = values[first:]
    low, high = float(np.quantile(end, 0.1)), float(np.quantile(end, 0.9))
    if found.period == 2:
        says = t(
            "the loss goes up at one step and down at the next, between {low} and {high}, and no longer falls",
            low=number(low),
            high=number(high),
        )
    elif math.isfinite(found.period):
        says = t(
            "the loss swings between {low} and {high} every {period} steps, and no longer falls",
            low=number(low),
            high=number(high),
            period=number(found.period),
        )
    else:
        says = t(
            "the loss is tossed between {low} and {high} by steps of over a tenth of the weights, and no longer falls",
            low=number(low),
            high=number(high),
        )
    return reported(
        Case("oscillating-loss", history, track, int(track.step[track.finite_rows[first]]), track.last_step),
        "warning" if learned else "serious",
        says,
        [history.place(track)] if history.several else [],
        {
            "period": found.period if math.isfinite(found.period) else None,
            "size": found.size,
            "correlation": found.regular if math.isfinite(found.regular) else None,
            "low": low,
            "high": high,
            "threshold": SIZE if math.isfinite(found.period) else LARGE_SIZE,
        },
        CAUSES,
    )


def _thrown_up(history: History, track: Track, state: Progress) -> Finding:
    """Under chance at most steps of the end, and over it on average."""
    values = track.finite_loss
    end = tail(values)
    first = int(track.step[track.finite_rows[len(values) - len(end)]])
    return reported(
        Case("oscillating-loss", history, track, first, track.last_step),
        "serious",
        t(
            "the loss is {low} at most steps of the end and {mean} on average, thrown up again and again, to {high}; "
            "chance is {chance}",
            low=number(state.last),
            mean=number(state.peaks),
            high=number(float(end.max())),
            chance=number(state.reference),
        ),
        [history.place(track)] if history.several else [],
        {
            "low": state.last,
            "mean": state.peaks,
            "high": float(end.max()),
            "threshold": PEAKED * state.reference,
        },
        CAUSES,
    )


def _since(values: Floats, blocks: int = 16) -> int:
    """The first row of the blocks that lie no higher than half as far again above the end's level, without a break."""
    medians = block_medians(values, blocks)
    rows = np.array_split(np.arange(len(values)), min(blocks, len(values)))
    beyond = np.flatnonzero(medians > 1.5 * medians[len(medians) // 2 :].max())
    return int(rows[int(beyond[-1]) + 1][0]) if len(beyond) else 0


TROUBLE = Trouble(
    name="oscillating-loss",
    summary="The loss swings to and fro, and gets nowhere for it.",
    measures="The autocorrelation of the log loss over the second half of the run, its trend removed: either "
    "neighbouring losses lie on opposite sides, or the loss comes back after a fixed number of steps (its period). "
    "The swing must be within the reach of the steps: the sum of |g| |update| over the tensors, which to first order "
    "bounds what a step can do to the loss. Where there is no period: the spread of the log loss, if the median step "
    "changes the weights by more than a tenth of their size. Also a loss that is under chance at most steps of the "
    "end (their median) and over twice chance on average (the median of the means of eight blocks, so that one spike "
    "does not count).",
    hurts="Each step jumps over the valley that it is meant to go down: the loss stays where a shorter step would "
    "have it fall.",
    is_not=(
        "The noise of minibatches, which does not depend on the step before.",
        "Losses that differ between the batches of an epoch, where each epoch has the same order: they repeat as well "
        "after two and three periods as after one, or they swing further than the steps can account for.",
        "A loss that falls all the same: at the edge of stability it does both.",
        f"A loss under {HIGH:.0%} of chance (of its start, where chance is not known): there is nothing to gain.",
    ),
    threshold=f"A standard deviation of {SIZE:g} in the log loss, with a correlation of -0.6 between neighbours or of "
    f"0.5 after a period; a standard deviation of {LARGE_SIZE:g} without a period. The loss must not fall: "
    f"Mann-Kendall z above {FALLING:g}. Peaks: a mean over {PEAKED:g} times chance. Set by hand; how often it is right "
    "is measured by studies/calibration.",
    causes=CAUSES,
    remedies="lr*0.1; schedule=cosine where it swings only at the end.",
    rule=oscillating_loss,
    sources=("Cohen et al. 2021, arXiv:2103.00065 (the edge of stability)",),
    leads_to=frozenset({"stalled-loss", "slow-loss", "constant-output", "dead-units"}),
)
