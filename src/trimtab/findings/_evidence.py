"""What tells causes apart: small readings of a track, each with a sentence for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ._finding import Cause
from ._history import Columns, Track
from ._text import number

LARGE_UPDATE = 0.1  # |update| / |weight|; healthy 9e-4 to 5e-3 (SCIENCE, section 2, rule 8, measured there)
HEALTHY_UPDATE = 1e-3
USELESS_TRAVEL = 0.02  # median(|update| / |weight|) x steps (the same rule)


def update_ratio(track: Track, step: int) -> float:
    """|update| / |weight| of all tensors together at a sampled step, unitless; NaN where not measured."""
    rows = track.series.tensors(step)
    if not rows or "update_norm" not in rows or not len(rows["update_norm"]):
        return math.nan
    update = np.asarray(rows["update_norm"], dtype=np.float64)
    weight = np.asarray(rows["weight_norm"], dtype=np.float64)
    both = np.isfinite(update) & np.isfinite(weight)
    total = float(np.sqrt(np.sum(weight[both] ** 2)))
    return float(np.sqrt(np.sum(update[both] ** 2))) / total if total > 0 else math.nan


def update_ratios(track: Track, limit: int = 12, *, until: int | None = None) -> list[float]:
    """`update_ratio` at up to `limit` sampled steps spread over the run, or over the part `until` a step."""
    sampled = np.asarray(track.series.sampled_steps)
    if until is not None:
        sampled = sampled[sampled <= until]
    if len(sampled) > limit:
        sampled = sampled[np.linspace(0, len(sampled) - 1, limit).astype(int)]
    ratios = (update_ratio(track, int(step)) for step in sampled)
    return [ratio for ratio in ratios if math.isfinite(ratio)]


def learning_rate(track: Track) -> str:
    """ "learning rate 0.1 (SGD)", as far as it is known."""
    rates = np.asarray(track.columns["lr"], dtype=np.float64)
    known = rates[np.isfinite(rates)]
    name = optimizer_name(track)
    if not len(known):
        return name
    low, high = number(float(known.min())), number(float(known.max()))
    return f"learning rate {high if low == high else f'{low} to {high}'}" + (f" ({name})" if name else "")


def optimizer_name(track: Track) -> str:
    return str(track.series.info.get("class", "")).rpartition(".")[2]


def learning_rate_too_high(track: Track, *, grew: str) -> Cause:
    """The cause of what grows once steps are taken; `grew` says what was seen to grow."""
    first = first_update_ratio(track)
    size = f"; its first step changed the weights by {of_their_size(first)}" if first > LARGE_UPDATE else ""
    rate = learning_rate(track)
    return Cause("learning-rate-too-high", f"{grew}{' at ' + rate if rate else ''}{size}")


def first_update_ratio(track: Track) -> float:
    sampled = np.asarray(track.series.sampled_steps)
    return update_ratio(track, int(sampled[0])) if len(sampled) else math.nan


def lower_rate(track: Track) -> str:
    """lr*0.1, or as many decades as bring the first update under a tenth of the weights' size, at most four."""
    first = first_update_ratio(track)
    decades = math.ceil(math.log10(first / LARGE_UPDATE)) if first > LARGE_UPDATE else 1
    return f"lr*{10.0 ** -min(max(decades, 1), 4):g}"


def higher_rate(ratio: float) -> str:
    """lr*10, or as many decades as bring an update near a healthy thousandth of the weights, at most four."""
    decades = round(math.log10(HEALTHY_UPDATE / ratio)) if ratio > 0 else 4
    return f"lr*{10 ** min(max(decades, 1), 4)}"


def of_their_size(ratio: float) -> str:
    """ "23% of their size (healthy: 0.1 % to 0.5 %)"."""
    share = f"{ratio:.0%} of" if ratio < 1 else f"{number(ratio)} times"
    return f"{share} their size (healthy: 0.1 % to 0.5 %)"


def clip_remedy(track: Track) -> list[str]:
    return [] if track.clipped else ["clip=global:1.0"]


def step_causes(track: Track) -> Iterator[tuple[Cause, list[str]]]:
    """Causes of a loss that does not move which the sampled measurements show, with their remedies."""
    yield from _gradient_causes(track)
    ratios = update_ratios(track)
    if ratios:
        ratio = float(np.median(ratios))
        if ratio * len(track) < USELESS_TRAVEL:
            why = (
                f"a step changes the weights by {number(ratio)} of their size: {number(ratio * len(track))} "
                f"over the whole run (under {USELESS_TRAVEL} is too little to learn anything)"
            )
            yield Cause("learning-rate-too-low", why), [higher_rate(ratio)]
        elif max(ratios) > LARGE_UPDATE:
            why = f"a step changes the weights by up to {of_their_size(max(ratios))}"
            yield Cause("learning-rate-too-high", why), ["lr*0.1"]


def _gradient_causes(track: Track) -> Iterator[tuple[Cause, list[str]]]:
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)
    known = norms[np.isfinite(norms)]
    if len(known) and not known.any():
        yield (
            Cause(
                "detached-graph",
                "the gradient is exactly 0 at every step: the loss does not depend on these parameters",
            ),
            [],
        )
    elif len(known) > 20 and not known[-20:].any():
        step = int(track.step[np.flatnonzero(np.nan_to_num(norms, nan=1.0) > 0)[-1]]) + 1
        yield (
            Cause("dying-activation", f"since step {step} the gradient is exactly 0: no unit passes it on"),
            ["lr*0.1"],
        )
    losses = track.series.losses
    if _median(losses, "leftover_grad_norm") > 0:
        yield (
            Cause(
                "missing-zero-grad",
                "gradients of earlier steps were still there when a step's backward "
                "pass began: optimizer.zero_grad() is missing",
            ),
            [],
        )
    if track.loss_kind in ("cross_entropy",) and _median(losses, "rows_sum_to_one") > 0.99:
        yield (
            Cause(
                "output-activation-mismatch",
                "the outputs given to cross-entropy are probabilities already "
                "(each row sums to 1); it applies softmax itself and wants the scores before it",
            ),
            [],
        )


def tensors(track: Track) -> list[Mapping[str, Any]]:
    found = track.series.info.get("tensors", ())
    return [t for t in found if isinstance(t, Mapping) and "name" in t and "shape" in t]


def _median(columns: Columns, name: str) -> float:
    values = np.asarray(columns.get(name, ()), dtype=np.float64)
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan
