"""Causes that lie in the weights at the start, and in what should keep the signal's scale as it passes them."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np

from ..._language import t
from .._at_start import normalised
from .._gain import gain_of
from .._history import Columns, Track
from .._signal import signal
from .._text import listed, number
from ._activations import signal_pace
from ._cause import EXACT, STRONG, WEAK, Case, Clue, KnownCause
from ._readings import first_modules, in_order, last_modules, reading, steps_with_modules, weighted
from ._recurrence import too_large_over_time, unclipped

SCALE = ("vanishing-gradient", "exploding-gradient")
FAR = 3.0  # times the gain that keeps the scale, either way: one layer is off by that, ten layers by 60,000
TWINS = 0.9  # share of a tensor's units whose incoming weights equal another's
DEEP = 10  # weighted layers
SMOOTHED = 3.0  # times: the spread between rows, relative to the scale, from the first layer to the last
FEW = 4  # layers: over fewer, a fall is no trend
BIAS = re.compile(r"bias[^./]*$")
GRAPH = re.compile(r"GCN|GAT|GIN|GNN|SAGE|Graph|Cheb|APPNP|MessagePassing")


def _too_large(case: Case) -> Clue | None:
    if (found := too_large_over_time(case)) is not None:
        return found
    gain = gain_of(case.track, _start(case))
    if case.trouble not in SCALE or case.first_step > _start(case):
        if not gain.value > FAR * gain.wanted or normalised(first_modules(case.track)):
            return None
        return Clue(str(gain), STRONG, (gain.remedy,))
    if not _signal_changes(case, growing=True) or not (gain.is_large or math.isnan(gain.value)):
        return None
    unknown = t("every layer multiplies the signal by {pace}", pace=signal_pace(case))
    return Clue(unknown if math.isnan(gain.value) else str(gain), STRONG, (gain.remedy,))


def _too_small(case: Case) -> Clue | None:
    gain = gain_of(case.track, _start(case))
    if case.trouble not in SCALE:
        if not gain.value < gain.wanted / FAR or gain.activation is None or normalised(first_modules(case.track)):
            return None
        return Clue(str(gain), STRONG, (gain.remedy,))
    if not _signal_changes(case, growing=False):
        return None
    unseen = math.isnan(gain.value) and not (gain.activation and gain.is_saturating)
    if not gain.is_small and not unseen:
        return None
    unknown = t("each layer passes on {pace}", pace=signal_pace(case))
    return Clue(unknown if math.isnan(gain.value) else str(gain), STRONG, (gain.remedy,))


def _start(case: Case) -> int:
    sampled = np.asarray(case.track.series.sampled_steps)
    return int(sampled[0]) if len(sampled) else 0


def _signal_changes(case: Case, *, growing: bool) -> bool:
    """The signal changes over depth beyond its limit, in that direction."""
    found = signal(case.track, live=case.history.live)
    return found is not None and found.worst is not None and (found.worst[1].log10_ratio > 0) == growing


def _constant(case: Case) -> Clue | None:
    """Units that begin with the same weights and still have the same at the end: they learn the same."""
    steps = steps_with_modules(case.track)
    first = next((found for step in steps[:3] if (found := _twins(case, step))), {})
    last = next((found for step in steps[:0:-1][:3] if (found := _twins(case, step))), None)
    alike = [name for name, share in first.items() if share > TWINS and (last is None or last.get(name, 0.0) > TWINS)]
    if not alike:
        return None
    why = t("every unit of {names} has the incoming weights of another one", names=listed(alike))
    if last is not None:
        why = t("{why}, at the first step and still at the last", why=why)
    return Clue(why, STRONG if last is None else EXACT, ("init=he",))


def _twins(case: Case, step: int) -> dict[str, float]:
    """By the weight's name. Biases begin at 0, all of them; those of attention and of a GRU have two axes in Keras."""
    rows = case.track.series.tensors(step)
    shares = np.asarray(rows.get("twin_units", ()), dtype=np.float64)
    known = {str(rows["tensor"][i]): float(shares[i]) for i in np.flatnonzero(np.isfinite(shares))}
    return {name: share for name, share in known.items() if not BIAS.search(name)}


def _depth(case: Case) -> Clue | None:
    """Many layers, and nothing among them that holds the scale."""
    modules = first_modules(case.track)
    held = normalised(modules)
    if case.trouble in SCALE:
        return _depth_of_signal(case, held)
    layers = len({str(modules["module"][i]) for i in weighted(modules)})
    if held or layers < DEEP:
        return None
    why = t("{layers} layers and no normalisation among them", layers=layers)
    return Clue(why, WEAK, ("norm=layer",))


def _depth_of_signal(case: Case, held: bool) -> Clue | None:
    found = signal(case.track, live=case.history.live)
    if found is None or found.worst is None or found.step != case.first_step:
        return None
    layers, pace = len(found.layers), signal_pace(case)
    if held:
        if case.trouble == "vanishing-gradient":
            return None
        why = t("{pace} per layer over {layers} layers", pace=pace, layers=layers)
        return Clue(why, WEAK, ("norm=layer",))
    why = t(
        "{pace} per layer over {layers} layers and no normalisation among them",
        pace=pace,
        layers=layers,
    )
    return Clue(why, STRONG, ("norm=layer",))


def _over_smoothing(case: Case) -> Clue | None:
    """The rows become alike as they pass the layers: at the first step, or by the time of the trouble."""
    for modules in (first_modules(case.track), last_modules(case)):
        spreads = _relative_spreads(modules)
        if is_graph_net(case.track, modules) and len(spreads) >= FEW and spreads[0] > SMOOTHED * spreads[-1]:
            why = t(
                "what tells the rows apart shrinks from {first} of the signal's scale to {last} over {layers} layers",
                first=number(spreads[0]),
                last=number(spreads[-1]),
                layers=len(spreads),
            )
            return Clue(why, STRONG, ("norm=batch",))
    return None


def is_graph_net(track: Track, modules: Columns) -> bool:
    """By the names of its classes and modules: a library's, or what people call their own."""
    names = (*modules.get("kind", ()), *modules.get("module", ()), track.series.info.get("model") or "")
    return any(GRAPH.search(str(name)) for name in names)


def _relative_spreads(modules: Columns) -> list[float]:
    """What is left of the spread between rows, relative to the scale, behind each weighted layer but the head.

    Neighbours are averaged behind the weights, as a rule, and dropout sets rows apart by chance: of a layer and the
    modules up to the next one, the least stands.
    """
    rows = in_order(modules)
    edges = [rows.index(i) for i in weighted(modules)]
    found = []
    for start, end in pairwise(edges):
        ratios = [ratio for i in rows[start:end] if math.isfinite(ratio := _spread_of(modules, i))]
        if ratios:
            found.append(min(ratios))
    return found


def _spread_of(modules: Columns, row: int) -> float:
    spread, scale = reading(modules, "out_spread", row), reading(modules, "out_rms", row)
    return spread / scale if scale > 0 else math.nan


CAUSES = (
    KnownCause(
        "initial-weights-too-large",
        "Each layer multiplies the scale of its input by more than 1, which over many layers is exponential. A "
        "weight matrix of standard deviation sqrt(2 / fan in) keeps it under ReLU. A recurrent matrix is a layer for "
        "every step of time: a gain above 1 is enough there. Try init=he; init=orthogonal for a recurrence.",
        _too_large,
    ),
    KnownCause(
        "initial-weights-too-small",
        "Each layer multiplies the scale of its input, and of the gradient on the way back, by less than 1. "
        "PyTorch's default for Linear loses a factor of 0.41 per ReLU layer. Try init=he (ReLU) or init=xavier "
        "(tanh).",
        _too_small,
    ),
    KnownCause(
        "constant-initial-weights",
        "Units that begin with equal weights get equal gradients, and stay equal: a layer of a hundred of them is one "
        "unit. Biases may begin at a constant, weights must not. Try init=he.",
        _constant,
    ),
    KnownCause(
        "depth-without-normalisation",
        "Nothing holds the scale of the signal as it passes many layers. Normalisation or a skip connection turns "
        "exponential growth or decay into a mild one. Try norm=layer.",
        _depth,
    ),
    KnownCause(
        "unclipped-recurrence",
        "A recurrent net applies one matrix many times over; where it stretches anything, the gradient grows "
        "exponentially with the length of the sequence, now and then. Try clip=global:1.0.",
        unclipped,
    ),
    KnownCause(
        "over-smoothing",
        "Each layer of a graph net averages over neighbours; after several of them all nodes look alike, and nothing "
        "is left to tell them apart by. Seen by the spread between rows, relative to their scale, which shrinks over "
        "depth. Fewer layers, or a skip connection around each.",
        _over_smoothing,
    ),
)
