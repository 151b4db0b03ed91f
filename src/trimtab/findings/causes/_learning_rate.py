"""Causes that lie in the optimizer's settings: learning rate, schedule, clip, decay, and the number of steps."""

from __future__ import annotations

import math

import numpy as np

from ..._language import t
from .._evidence import (
    HEALTHY_UPDATE,
    LITTLE_TRAVEL,
    betas,
    optimizer_name,
    setting,
    travel_of,
    update_ratios,
)
from .._history import Floats, Track
from .._levels import trend
from .._progress import FALLING, FEW_STEPS
from .._text import number
from ._cause import STRONG, WEAK, Case, Clue, KnownCause
from ._jumps import jump_before, loss_jumps
from ._readings import adaptive, measured, parameters, steps_with_modules
from ._step_size import no_warm_up, too_high, too_low

STALE = 2.3  # root of mean(g^2 / v): healthy p99.9 1.9 (docs/science.md, 15)
SETTLED = 10  # steps before v means anything (the same rule)
PACE = 0.9  # of the loss, to which four times the steps would bring it at the pace of the end
TIGHT = 0.1  # of the gradient's length that a clip leaves
ALWAYS = 0.9  # share of the steps that are clipped
SHRUNK = math.log(2)  # the weights have lost half of their size
USUAL_DECAY = 0.01  # of SGD and Adam 1e-4 to 1e-2
USUAL_DECOUPLED = 0.3  # of AdamW 0.01 to 0.3
BEYOND_USE = 100.0  # times the usual
DECOUPLED = ("adamw", "sgdw", "lion", "lamb")
ADADELTA_RATE = 0.1  # its default is 1


def _too_few_steps(case: Case) -> Clue | None:
    """The loss still falls at the end, fast enough for more steps to matter: extrapolated on log loss."""
    values = case.track.finite_loss
    if case.trouble == "overfitting":
        return None
    half = values[-max(FEW_STEPS, len(values) // 2) :]
    if len(values) < 2 * FEW_STEPS or values.min() <= 0 or trend(half) >= FALLING:
        return _short_way(case)
    slope = float(np.polyfit(np.arange(len(half)), np.log(half), 1)[0])
    there = math.exp(3 * len(values) * slope)
    if slope >= 0 or there > PACE:
        return None
    why = t(
        "the loss was still falling at the end, by {share} in the second half of the run",
        share=f"{1 - math.exp(slope * len(half)):.0%}",
    )
    ratios = update_ratios(case.track)
    small = bool(ratios) and float(np.median(ratios)) < HEALTHY_UPDATE / 10
    return Clue(why, WEAK if small else STRONG, ("steps*4",))


def _short_way(case: Case) -> Clue | None:
    """The weights have hardly moved, at steps of a healthy length: there were few of them.

    At chance that is strong: no plateau is that near the start.
    """
    travel, ratios = travel_of(case.track), update_ratios(case.track)
    if case.trouble not in ("slow-loss", "stalled-loss") or not travel < LITTLE_TRAVEL:
        return None
    if not np.median(ratios) > HEALTHY_UPDATE / 10:
        return None
    why = t(
        "the {steps} steps moved the weights by {travel} of their size in all",
        steps=len(case.track),
        travel=number(travel),
    )
    return Clue(why, STRONG if case.trouble == "stalled-loss" else WEAK, ("steps*4",))


def _weak_optimizer(case: Case) -> Clue | None:
    name, rates = optimizer_name(case.track), measured(case.track.columns, "lr")
    rate = float(rates.max()) if len(rates) else math.nan
    if name == "Adadelta" and rate < ADADELTA_RATE:
        why = t("Adadelta at learning rate {rate}, where it is made for 1", rate=number(rate))
        return Clue(why, STRONG, ("optimizer=adamw", "lr=1"))
    if (found := _large_eps(case.track, name)) is not None:
        return found
    if name == "Adagrad" and (shrink := _shrinking(case.track)) < 0.2:
        why = t("Adagrad's steps have shrunk to {share} of the first ones, and only ever shrink", share=f"{shrink:.0%}")
        return Clue(why, STRONG, ("optimizer=adamw",))
    if name == "Rprop":
        why = t("Rprop follows the signs of the gradient, which on batches are mostly noise")
        return Clue(why, STRONG, ("optimizer=adamw",))
    if name.lower() == "sgd" and setting(case.track, "momentum") == 0:
        return Clue(t("plain SGD without momentum"), WEAK, ("optimizer=adamw",))
    return None


def _large_eps(track: Track, name: str) -> Clue | None:
    """An Adam whose eps outweighs its gradients: it takes steps in proportion to them, and tiny ones."""
    eps, count = setting(track, "eps"), parameters(track)
    norms = measured(track.columns, "grad_norm_raw")
    if "adam" not in name.lower() or not count or not len(norms):
        return None
    rms = float(np.median(norms)) / math.sqrt(count)
    if not eps > 10 * rms > 0:
        return None
    why = t(
        "{name}'s eps of {eps} outweighs gradients of {rms} (root mean square): its steps are that much shorter",
        name=name,
        eps=f"{eps:g}",
        rms=number(rms),
    )
    return Clue(why, STRONG, ("optimizer=adamw",))


def _shrinking(track: Track) -> float:
    """The last update ratios over the first, where they are shorter than healthy by now; NaN where not."""
    ratios = update_ratios(track)
    if len(ratios) < 6 or not ratios[0] > 0 or not np.median(ratios[-3:]) < HEALTHY_UPDATE:
        return math.nan
    return float(np.median(ratios[-3:]) / ratios[0])


def _stale_second_moment(case: Case) -> Clue | None:
    """A gradient far longer than the second moment expects, of a batch whose own loss was ordinary."""
    beta = betas(case.track)[1]
    jump = jump_before(case)
    if not adaptive(case.track) or jump is None or loss_jumps(case.track, jump.row):
        return None
    ratio = _expected(case.track, jump.row, beta if math.isfinite(beta) else 0.999)
    seen = _g2_over_v(case.track, int(case.track.step[jump.row]))
    if not max(ratio, seen if math.isfinite(seen) else 0.0) > STALE:
        return None
    why = t(
        "the gradient of step {step} was {times} times as long as the second moment expected (healthy: under {limit}), "
        "while the loss of its batch was ordinary",
        step=int(case.track.step[jump.row]),
        times=number(max(ratio, seen if math.isfinite(seen) else 0.0)),
        limit=STALE,
    )
    return Clue(why, STRONG, () if case.track.clipped else ("clip=global:1.0",))


def _expected(track: Track, row: int, beta: float) -> float:
    """|g| over the root of its own bias-corrected moving average of squares, that step included: what g2_over_v is
    for the gradient as a whole, at any step."""
    if row < SETTLED:
        return 0.0
    squares = np.asarray(track.columns["grad_norm"], dtype=np.float64)[max(0, row - 2000) : row + 1] ** 2
    known = squares[np.isfinite(squares)]
    weights = beta ** np.arange(len(known))[::-1]
    mean = float((known * weights).sum() / weights.sum()) if len(known) else 0.0
    return math.sqrt(float(known[-1]) / mean) if mean > 0 else 0.0


def _g2_over_v(track: Track, step: int) -> float:
    values = measured(track.series.tensors(step), "g2_over_v")
    return float(values.max()) if len(values) and step >= SETTLED else math.nan


def _too_much_weight_decay(case: Case) -> Clue | None:
    """The weights shrink at the pace at which the decay shrinks them."""
    decay = setting(case.track, "weight_decay")
    decoupled = optimizer_name(case.track).lower() in DECOUPLED
    usual = USUAL_DECOUPLED if decoupled else USUAL_DECAY
    if not decay > usual:
        return None
    remedy = ("weight_decay=0.01" if decoupled else "weight_decay=0.0001",)
    norms = _weight_norms(case.track)
    if len(norms) < 2:
        return _decay_beyond_use(decay, usual, remedy)
    lost = math.log(norms[0] / norms[-1]) if min(norms[0], norms[-1]) > 0 else math.inf
    if lost < SHRUNK:
        return _decay_beyond_use(decay, usual, remedy) if decay > BEYOND_USE * usual else None
    why = t(
        "the weights have shrunk from {first} to {last} (2-norm) under a weight decay of {decay} "
        "(usual: up to {usual})",
        first=number(float(norms[0])),
        last=number(float(norms[-1])),
        decay=f"{decay:g}",
        usual=usual,
    )
    return Clue(why, STRONG, remedy)


def _decay_beyond_use(decay: float, usual: float, remedy: tuple[str, ...]) -> Clue:
    why = t("the weight decay is {decay} (usual: up to {usual})", decay=f"{decay:g}", usual=usual)
    return Clue(why, STRONG if decay > BEYOND_USE * usual else WEAK, remedy)


def _weight_norms(track: Track) -> Floats:
    """2-norm of all weights at up to twelve sampled steps."""
    found = []
    for step in steps_with_modules(track):
        norms = measured(track.series.tensors(step), "weight_norm")
        if len(norms):
            found.append(float(np.sqrt(np.sum(norms**2))))
    return np.asarray(found)


def _clipping_too_tight(case: Case) -> Clue | None:
    """Nearly every gradient is cut to a small part of its length, so that each step has the same length."""
    raw = np.asarray(case.track.columns["grad_norm_raw"], dtype=np.float64)
    applied = np.asarray(case.track.columns["grad_norm"], dtype=np.float64)
    both = np.isfinite(raw) & np.isfinite(applied) & (raw > 0)
    if both.sum() < FEW_STEPS:
        return None
    factors = applied[both] / raw[both]
    factor = float(np.median(factors))
    if float((factors < 0.999).mean()) < ALWAYS or factor > TIGHT:
        return None
    ratios = update_ratios(case.track)
    short = not ratios or float(np.median(ratios)) < HEALTHY_UPDATE
    why = t(
        "{share} of the steps are clipped, to {factor} of the gradient's length as a rule: each is as long as the clip "
        "allows, whatever the gradient",
        share=f"{(factors < 0.999).mean():.0%}",
        factor=number(factor),
    )
    remedy = f"clip=global:{float(f'{np.median(raw[both]):.1g}'):g}"
    felt = not adaptive(case.track) or _under_eps(case.track, applied[both])
    return Clue(why, STRONG if short and felt else WEAK, (remedy,))


def _under_eps(track: Track, norms: Floats) -> bool:
    """What the clip leaves is less than an adaptive optimizer's eps, which then rules the step."""
    eps, count = setting(track, "eps"), parameters(track)
    return bool(count and np.median(norms) / math.sqrt(count) < eps)


CAUSES = (
    KnownCause(
        "learning-rate-too-high",
        "Each step overshoots: it goes further than the gradient is worth. On a quadratic, gradient descent "
        "diverges above 2 / curvature. Seen by growth of the loss or the gradient within a few steps, and by "
        "updates of more than a tenth of the weights' own size (healthy: 0.1 % to 0.5 %), or by units that lived at "
        "the first step and died under long ones. Try lr*0.1, then warm-up or a clip.",
        too_high,
    ),
    KnownCause(
        "learning-rate-too-low",
        "The weights travel too little within the run to get anywhere: the median update, relative to the weights, "
        "times the number of steps is under 0.02; or a schedule has cut the learning rate long before the end. Try "
        "lr*10.",
        too_low,
    ),
    KnownCause(
        "missing-warm-up",
        "The first steps are taken at full length while the curvature is at its highest and an adaptive optimizer "
        "has seen almost no gradients. Try warmup=100.",
        no_warm_up,
    ),
    KnownCause(
        "too-few-steps",
        "The loss was still on its way down when the run ended. Try steps*4.",
        _too_few_steps,
    ),
    KnownCause(
        "weak-optimizer",
        "The optimizer, as it is set, gets far less out of a step than another would: Adadelta at a learning rate made "
        "for Adam, Adagrad whose steps only ever shrink, Rprop on batches, an eps larger than the gradients, SGD "
        "without momentum on a badly scaled problem. Try optimizer=adamw.",
        _weak_optimizer,
    ),
    KnownCause(
        "stale-second-moment",
        "An adaptive optimizer divides by an average of past squared gradients; a gradient much larger than those "
        "takes a much larger step than the learning rate says. Try clip=global:1.0 or a smaller beta2.",
        _stale_second_moment,
    ),
    KnownCause(
        "too-much-weight-decay",
        "The decay takes more from the weights at each step than the gradient gives them: they shrink towards 0, and "
        "with them all that was learned. Usual: 1e-4 to 1e-2 for SGD and Adam, 0.01 to 0.3 for AdamW. Try "
        "weight_decay=0.01.",
        _too_much_weight_decay,
    ),
    KnownCause(
        "clipping-too-tight",
        "The clip lies far below the usual length of a gradient, so that every step is cut to the same length: under "
        "SGD the learning rate is then smaller than it says. An adaptive optimizer undoes most of it. Set the clip "
        "near the usual length, for the rare gradient that is far longer.",
        _clipping_too_tight,
    ),
)
