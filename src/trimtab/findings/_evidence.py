"""What a record says of the steps that were taken: their size against the weights, the rate, the optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._language import t
from ._history import Columns, Track
from ._samples import sampled_steps
from ._text import number

LARGE_UPDATE = 0.1  # |update| / |weight|; healthy 9e-4 to 5e-3 (docs/science.md, 8)
HEALTHY_UPDATE = 1e-3
USELESS_TRAVEL = 0.02  # median(|update| / |weight|) x steps (the same rule)
LITTLE_TRAVEL = 0.15  # the same of the matrix that moves most; trainings that went well 0.3 at least (calibration half)
HEAVY_MOMENTUM = 0.95  # from here on the momentum is worth a word: it makes a step 1 / (1 - momentum) times as long


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


def first_update_ratio(track: Track) -> float:
    sampled = np.asarray(track.series.sampled_steps)
    return update_ratio(track, int(sampled[0])) if len(sampled) else math.nan


def travel_of(track: Track) -> float:
    """The median |update| / |weight| times the steps of the tensor that moves most, of those with two axes or more.

    Of the tensor that moves most, since a new head on a trained body may be all that has to move. NaN: not measured.
    """
    ratios: dict[str, list[float]] = {}
    for step in sampled_steps(track):
        for name, ratio in _ratios(track.series.tensors(step)).items():
            ratios.setdefault(name, []).append(ratio)
    matrices = {str(tensor.get("name")) for tensor in track.series.info.get("tensors", ()) if _is_matrix(tensor)}
    medians = [float(np.median(found)) for name, found in ratios.items() if not matrices or name in matrices]
    return max(medians) * len(track) if medians else math.nan


def _is_matrix(tensor: object) -> bool:
    return isinstance(tensor, dict) and len(tensor.get("shape", ())) > 1


def _ratios(rows: Columns) -> dict[str, float]:
    if "update_norm" not in rows or not len(rows["update_norm"]):
        return {}
    update, weight = (np.asarray(rows[name], dtype=np.float64) for name in ("update_norm", "weight_norm"))
    known = np.isfinite(update) & (weight > 0)
    return dict(zip(map(str, rows["tensor"][known]), (update[known] / weight[known]).tolist(), strict=True))


def optimizer_name(track: Track) -> str:
    return str(track.series.info.get("class", "")).rpartition(".")[2]


def setting(track: Track, name: str) -> float:
    """A number among the settings of the first parameter group; NaN where it has none of that name."""
    value = _first_group(track).get(name)
    return float(value) if isinstance(value, int | float) else math.nan


def betas(track: Track) -> tuple[float, float]:
    """The decay rates of an Adam-like optimizer's two averages; NaN where it has none."""
    value = _first_group(track).get("betas")
    if isinstance(value, list | tuple) and len(value) >= 2 and all(isinstance(b, int | float) for b in value[:2]):
        return float(value[0]), float(value[1])
    return math.nan, math.nan


def learning_rate(track: Track) -> str:
    """ "learning rate 0.1 (SGD)", as far as it is known."""
    rates = np.asarray(track.columns["lr"], dtype=np.float64)
    known = rates[np.isfinite(rates)]
    name = optimizer_name(track)
    momentum = setting(track, "momentum")
    if momentum >= HEAVY_MOMENTUM:
        name = t("{name}, momentum {momentum}", name=name, momentum=f"{momentum:g}")
    if not len(known):
        return name
    low, high = number(float(known.min())), number(float(known.max()))
    rate = high if low == high else t("{low} to {high}", low=low, high=high)
    return t("learning rate {rate} ({name})", rate=rate, name=name) if name else t("learning rate {rate}", rate=rate)


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
    if ratio < 1:
        return t("{share} of their size (healthy: 0.1 % to 0.5 %)", share=f"{ratio:.0%}")
    return t("{times} times their size (healthy: 0.1 % to 0.5 %)", times=number(ratio))


def clip_remedy(track: Track) -> tuple[str, ...]:
    return () if track.clipped else ("clip=global:1.0",)


def tensors(track: Track) -> list[Mapping[str, Any]]:
    found = track.series.info.get("tensors", ())
    return [entry for entry in found if isinstance(entry, Mapping) and "name" in entry and "shape" in entry]


def weight_of(track: Track, module: str) -> Mapping[str, Any] | None:
    """What is known of the weight matrix of a module: under the name that one framework or another gives it."""
    names = (f"{module}.weight", f"{module}/kernel")
    return next((entry for entry in tensors(track) if entry["name"] in names), None)


def fan_in(tensor: Mapping[str, Any]) -> int:
    """Inputs of each of a weight's outputs: as recorded, else the entries of all axes but the first."""
    known = tensor.get("fan_in")
    return known if isinstance(known, int) else math.prod(int(n) for n in tensor["shape"][1:])


def _first_group(track: Track) -> Mapping[str, Any]:
    groups = track.series.info.get("groups")
    first = groups[0] if isinstance(groups, list | tuple) and groups else None
    return first if isinstance(first, Mapping) else {}
