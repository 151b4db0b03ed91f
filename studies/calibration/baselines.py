"""Other tools' rules, written from their descriptions, on the same records.

Each takes a run and gives the names of the rules that fire at any step. Where a rule needs what a record does not hold
the nearest quantity stands in for it, as said at the rule; a rule for which there is none is left out.

AutoTrainer: thresholds as printed in the project's notes on its source (ratio of the gradients of the first to the last
layer, share of zero gradients, swing of the accuracy, final accuracy, size of the loss).

SageMaker Debugger: docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html, default parameters. Left out:
SaturatedActivation (inputs beyond +-9.5 are not counted in a record), TensorVariance (no default threshold),
CheckInputImages, ClassImbalance, Confusion (no means of inputs, no counts per class), Overtraining (needs more
validations than a short run has), the rules for trees and text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from trimtab.runs import Series

from .packing import Trained

Rule = Callable[[Trained], bool]

ZERO = 1e-30


def _series(run: Trained) -> Series | None:
    found = run.record.series()
    return found[0] if found else None


def _sampled(run: Trained) -> Iterator[dict[str, Any]]:
    """Rows of `tensors` at each sampled step, with `size`, the entries of each tensor, and `matrix`."""
    series = _series(run)
    if series is None:
        return
    shapes = {t["name"]: t.get("shape", [1]) for t in series.info.get("tensors", [])}
    for step in series.sampled_steps:
        rows: dict[str, Any] = dict(series.tensors(int(step)))
        if len(rows["tensor"]):
            rows["size"] = np.array([math.prod(shapes.get(str(name), [1])) for name in rows["tensor"]])
            rows["matrix"] = np.array([len(shapes.get(str(name), [1])) >= 2 for name in rows["tensor"]])
            yield rows


def _losses(run: Trained) -> np.ndarray:
    series = _series(run)
    return np.empty(0) if series is None else np.asarray(series.steps["loss"], dtype=np.float64)


def _any_nonfinite(run: Trained) -> bool:
    series = _series(run)
    return series is not None and bool((series.steps["nonfinite"] > 0).any())


# --- norm > 100 ---------------------------------------------------------------------------------


def norm_above_100(run: Trained) -> bool:
    series = _series(run)
    return series is not None and not bool((series.steps["grad_norm_raw"] <= 100).all())


# --- AutoTrainer --------------------------------------------------------------------------------


def _layer_gradients(run: Trained) -> Iterator[tuple[float, float, float]]:
    """(rms of the first matrix's gradient, ratio to the last one's, share of zero entries) at each sampled step."""
    for rows in _sampled(run):
        matrices = np.flatnonzero(rows["matrix"])
        if len(matrices) < 2:
            continue
        rms = np.asarray(rows["grad_norm_raw"], np.float64)[matrices] / np.sqrt(rows["size"][matrices])
        zeros = rows["grad_zeros"][matrices].clip(0).sum() / rows["size"][matrices].sum()
        yield float(rms[0]), float(rms[0] / max(rms[-1], ZERO)), float(zeros)


def gradient_explosion(run: Trained) -> bool:
    return _any_nonfinite(run) or any(ratio > 70 for _, ratio, _ in _layer_gradients(run))


def gradient_vanish(run: Trained) -> bool:
    return any(ratio < 1e-3 and first < 1e-4 for first, ratio, _ in _layer_gradients(run))


def dying_relu(run: Trained) -> bool:
    return any(zeros >= 0.7 for _, _, zeros in _layer_gradients(run))


def _accuracies(run: Trained) -> np.ndarray:
    """Held-out accuracy per validation pass, from the gain over chance; none for values, nor without validation."""
    if run.recipe.family in ("regression", "lstm", "rnn"):
        return np.empty(0)
    chance = {"gcn": 0.25, "binary": 0.63, "transformer": 0.15}.get(run.recipe.family, 0.1)
    return np.array([chance + (1 - chance) * gain for *_, gain in run.curve])


def unstable(run: Trained) -> bool:
    """The accuracy falls by over 0.03 from one pass to the next in a fifth of them."""
    swings = np.diff(_accuracies(run))
    return len(swings) > 1 and float(np.mean(swings < -0.03)) >= 0.2


def slow_convergence(run: Trained) -> bool:
    accuracies = _accuracies(run)
    return len(accuracies) > 0 and not accuracies[-1] >= 0.7


def loss_out_of_bounds(run: Trained) -> bool:
    return bool(np.any(~(_losses(run) <= 1e3)))


# --- SageMaker Debugger -------------------------------------------------------------------------


def vanishing_gradient(run: Trained) -> bool:
    """Mean |g| of a tensor below 1e-7, taken as 0.8 of its rms, as of a normal distribution."""
    return any(bool(np.any(0.8 * r["grad_norm_raw"] / np.sqrt(r["size"]) < 1e-7)) for r in _sampled(run))


def exploding_tensor(run: Trained) -> bool:
    return _any_nonfinite(run) or not bool(np.isfinite(_losses(run)).all())


def dead_relu(run: Trained) -> bool:
    """In a ReLU layer, over half of the units are never active; units are channels where the record counts them."""
    series = _series(run)
    if series is None:
        return False
    for step in series.sampled_steps:
        rows = series.modules(int(step))
        if bool(np.any((rows["kind"] == "ReLU") & (np.nan_to_num(rows["out_dead"]) > 0.5))):
            return True
    return False


def poor_initialisation(run: Trained) -> bool:
    """At the first step: weight variances of layers 10-fold apart, or a 5 to 95 % range of gradients below 1e-3."""
    rows = next(_sampled(run), None)
    if rows is None or not rows["matrix"].any():
        return False
    matrices = rows["matrix"]
    variance = (rows["weight_norm"][matrices].astype(np.float64) ** 2) / rows["size"][matrices]
    spread = 3.29 * rows["grad_norm_raw"][matrices] / np.sqrt(rows["size"][matrices])
    return bool(variance.max() > 10 * max(variance.min(), ZERO) or np.any(spread < 1e-3))


def loss_not_decreasing(run: Trained) -> bool:
    """The loss is not lower than ten steps before, looked at every ten steps."""
    every_tenth = _losses(run)[::10]
    return bool(np.any(~(np.diff(every_tenth) < 0)))


def overfit(run: Trained) -> bool:
    """The held-out loss exceeds the training loss by a tenth of it, at more than one validation."""
    return sum(held_out - train > 0.1 * train for _, train, held_out, _ in run.curve) > 1


def all_zero(run: Trained) -> bool:
    """A gradient that is zero throughout."""
    return any(bool(np.any(rows["grad_zeros"] >= rows["size"])) for rows in _sampled(run))


def unchanged_tensor(run: Trained) -> bool:
    """The update of a tensor is below 1e-5 of it at three sampled steps in a row."""
    counts: dict[str, int] = {}
    for rows in _sampled(run):
        still = rows["update_norm"] <= 1e-5 * rows["weight_norm"] + 1e-8 * np.sqrt(rows["size"])
        counts = {str(n): counts.get(str(n), 0) + 1 for n, s in zip(rows["tensor"], still, strict=True) if s}
        if counts and max(counts.values()) >= 3:
            return True
    return False


def weight_update_ratio(run: Trained) -> bool:
    """Of weight matrices: a bias begins at 0, and any update of it is infinitely large."""
    for rows in _sampled(run):
        ratio = (rows["update_norm"] / (rows["weight_norm"] + 1e-9))[rows["matrix"]]
        if bool(np.any((ratio > 10) | (ratio < 1e-8))):
            return True
    return False


# --- the tools ----------------------------------------------------------------------------------

AUTOTRAINER: dict[str, Rule] = {
    "explode": gradient_explosion,
    "vanish": gradient_vanish,
    "dying ReLU": dying_relu,
    "unstable": unstable,
    "slow": slow_convergence,
    "loss > 1000": loss_out_of_bounds,
}
SAGEMAKER: dict[str, Rule] = {
    "VanishingGradient": vanishing_gradient,
    "ExplodingTensor": exploding_tensor,
    "DeadRelu": dead_relu,
    "PoorWeightInitialization": poor_initialisation,
    "AllZero": all_zero,
    "UnchangedTensor": unchanged_tensor,
    "WeightUpdateRatio": weight_update_ratio,
    "LossNotDecreasing": loss_not_decreasing,
    "Overfit": overfit,
}


def _fired(rules: dict[str, Rule]) -> Callable[[Trained], tuple[str, ...]]:
    def fired(run: Trained) -> tuple[str, ...]:
        with np.errstate(all="ignore"):
            return tuple(name for name, rule in rules.items() if rule(run))

    return fired


BASELINES: dict[str, Callable[[Trained], tuple[str, ...]]] = {
    "norm > 100": _fired({"norm > 100": norm_above_100}),
    "AutoTrainer": _fired(AUTOTRAINER),
    "SageMaker Debugger": _fired(SAGEMAKER),
}
