"""How the signal's scale changes over depth at the first step: forward in the outputs, backward in their gradients.

Never the ratio of weight gradients: |dW_l| is the product of the input's and the output gradient's
scale, and where one grows as the other shrinks it is flat over depth (docs/science.md, 1: at weight
variance 4/n the activations grow by 10^2.7 while that ratio reads 0.75).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from .._language import t
from ._evidence import fan_in, weight_of
from ._history import Columns, Floats, Track

LIMIT = 2.0  # decades from the first layer to the last
UNEVEN_LIMIT = 3.0  # where the change does not go on layer by layer
SHALLOW_LIMIT = 4.0  # where fewer than DEEP layers say what is trend and what is one odd layer
LIVE_LIMIT = 3.0
DEEP = 4
MANY = 200  # layers: more say nothing more of a slope, and their pairs cost a second
NOTHING = 45.0  # decades: below float32's least number
RECURRENT = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")


@dataclass(frozen=True)
class Direction:
    """The change of scale along one direction, in decades over the whole depth (log10 of last / first travelled)."""

    log10_ratio: float
    by_depth: tuple[float, ...]  # log10 scale per weighted layer, in forward order
    steady: bool  # goes on in the second half at over half the pace of the first
    limit: float
    drift: float  # what finite width alone explains, to be added to `limit` on that side

    def beyond(self) -> float:
        """Decades beyond the limit: 0 inside it, negative where the signal shrinks."""
        ratio = self.log10_ratio
        if abs(ratio) <= self.limit + self.drift:
            return 0.0
        return ratio


@dataclass(frozen=True)
class Signal:
    step: int
    layers: tuple[str, ...]
    forward: Direction | None
    backward: Direction | None
    unseen: str = ""
    repeats: int = 1  # calls per backward pass of the layer that is called most often: steps of time, as a rule

    @property
    def path(self) -> str:
        """ "12 layers", "3 layers, one of them called 50 times"."""
        if self.repeats > 1:
            return t("{count} layers, one of them called {times} times", count=len(self.layers), times=self.repeats)
        return t("{count} layers", count=len(self.layers))

    @property
    def worst(self) -> tuple[str, Direction] | None:
        """The direction furthest beyond its limit."""
        directions = [("forward", self.forward), ("backward", self.backward)]
        beyond = [(name, d) for name, d in directions if d is not None and d.beyond()]
        return max(beyond, key=lambda item: abs(item[1].log10_ratio), default=None)


def signal(track: Track, *, live: bool = False) -> Signal | None:
    """The signal over the weighted layers at the first step that recorded them; None where fewer than three did."""
    sampled = np.asarray(track.series.sampled_steps)
    if not len(sampled):
        return None
    step = int(sampled[0])
    rows = track.series.modules(step)
    if not rows or not len(rows.get("call", ())):
        return None
    layers = _layers(rows)[:-1]  # the head's scale is the loss's business, and often small on purpose
    unseen = _unseen(rows)
    if len(layers) < 2:
        return None
    names = tuple(str(rows["module"][i]) for i in layers)
    width = mean_width(track, names)
    out = np.asarray(rows["out_rms"], dtype=np.float64)[layers]
    # A gradient spread over more entries is smaller in each: its 2-norm is what layers of any
    # size preserve; between layers of one size the ratio of norms is the ratio of rms.
    grad = np.asarray(rows["grad_rms"], dtype=np.float64)[layers]
    grad = grad * np.sqrt(np.asarray(rows["elements"], dtype=np.float64)[layers])
    return Signal(
        step,
        names,
        direction_of(out, width, live),
        direction_of(grad[::-1], width, live, backward=True),
        unseen,
        _repeats(rows, passes(track, step)),
    )


def _repeats(rows: Columns, of_passes: int) -> int:
    names = [str(name) for name, weighted in zip(rows["module"], rows["weighted"], strict=True) if weighted]
    return max(1, max(Counter(names).values(), default=1) // of_passes)


def passes(track: Track, step: int) -> int:
    """Backward passes of a step: where gradients are accumulated, or a closure is evaluated again, every layer is
    called in each."""
    row = np.flatnonzero(track.step == step)
    counts = [int(track.columns[name][row[0]]) for name in ("backwards", "evaluations")] if len(row) else []
    return max([1, *counts])


def _layers(rows: Columns) -> list[int]:
    """Rows of weighted modules in forward order; of a module that is called again, the last call (depth, not time)."""
    last: dict[str, int] = {}
    for i in np.argsort(rows["call"], kind="stable"):
        if rows["weighted"][i] and str(rows["kind"][i]) != "Embedding":
            last.pop(str(rows["module"][i]), None)
            last[str(rows["module"][i])] = int(i)
    return _without_siblings(rows, list(last.values()))


def _without_siblings(rows: Columns, layers: list[int]) -> list[int]:
    """Of layers in turn that were given the same input (query, key and value), the one with the largest gradient:
    they stand beside each other, and that one is the way the signal takes."""
    kept: list[int] = []
    for i in layers:
        if not kept or not _same_input(rows, kept[-1], i):
            kept.append(i)
        elif _gradient(rows, i) > _gradient(rows, kept[-1]):
            kept[-1] = i
    return kept


def _same_input(rows: Columns, one: int, other: int) -> bool:
    return all(name in rows and rows[name][one] == rows[name][other] for name in ("in_rms", "in_max"))


def _gradient(rows: Columns, i: int) -> float:
    return float(np.nan_to_num(rows["grad_rms"][i])) * math.sqrt(float(rows["elements"][i]))


def _unseen(rows: Columns) -> str:
    recurrent = sorted({str(kind) for kind in rows["kind"]} & set(RECURRENT))
    return t("what happens over time inside {kinds} is not seen", kinds=", ".join(recurrent)) if recurrent else ""


def mean_width(track: Track, names: tuple[str, ...]) -> float:
    """Harmonic mean of the layers' fan-in, from the shapes of their weights; inf where those are not recorded."""
    weights = [weight_of(track, name) for name in names]
    fans = [fan for weight in weights if weight is not None and (fan := fan_in(weight)) > 0]
    return len(fans) / sum(1 / fan for fan in fans) if fans else math.inf


def direction_of(scale: Floats, width: float, live: bool, *, backward: bool = False) -> Direction | None:
    """`scale` in the order travelled: layers first to last going forward, last to first going back."""
    scale = scale[np.isfinite(scale)]
    if len(scale) < 2 or not scale.any():
        return None
    logs = _logs(scale)
    if len(logs) < 2:
        return None
    ratio, steady = _ratio(logs)
    depth = len(logs)
    limit = LIVE_LIMIT if live else LIMIT
    if depth < DEEP:
        limit = SHALLOW_LIMIT
    elif not steady:
        limit = max(limit, UNEVEN_LIMIT)
    by_depth = logs[::-1] if backward else logs
    return Direction(ratio, tuple(round(float(x), 2) for x in by_depth), steady, limit, _drift(depth, width))


def _logs(scale: Floats) -> Floats:
    """log10, zeros dropped where they are the model's design (a branch that begins at zero), kept where the
    signal never gets through: every layer from some depth on is exactly zero."""
    nonzero = np.flatnonzero(scale > 0)
    last = int(nonzero[-1])
    reached = scale[: last + 1]
    kept = np.log10(reached[reached > 0])
    lost = len(scale) - 1 - last
    if lost >= 2 and lost >= len(scale) // 3:
        kept = np.concatenate([kept, np.full(lost, -NOTHING)])
    return kept


def _ratio(logs: Floats) -> tuple[float, bool]:
    """The whole change by Tukey's resistant line through the thirds (so that one odd layer does not decide), and
    whether it goes on: second half's slope over half the first's. Few layers: the ends themselves.

    Source: Tukey 1977, Exploratory Data Analysis, ch. 10 (three-group resistant line).
    """
    depth = len(logs)
    if depth < 6:
        return float(logs[-1] - logs[0]), depth < DEEP or _goes_on(logs)
    third = (depth + 1) // 3
    left, right = logs[:third], logs[-third:]
    rise = float(np.median(right) - np.median(left))
    return rise * (depth - 1) / (depth - third), _goes_on(logs)


def _goes_on(logs: Floats) -> bool:
    half = len(logs) // 2
    first = _slope(logs[: half + 1])
    second = _slope(logs[half:])
    return first * second > 0 and abs(second) > 0.5 * abs(first)


def _slope(values: Floats) -> float:
    """Theil-Sen: the median of the slopes between all pairs, of at most MANY values taken evenly."""
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), MANY)).astype(int))
    i, j = np.triu_indices(len(places), 1)
    i, j = places[i], places[j]
    return float(np.median((values[j] - values[i]) / (j - i))) if len(i) else 0.0


def _drift(depth: int, width: float) -> float:
    """What chance alone moves log10 rms over `depth` random layers of `width` units: the mean drift and two
    standard deviations, from ln |h|^2 having mean -2.5 D/n and variance 5 D/n at a He-initialised ReLU net.

    Source: docs/science.md, 1 (measured); the D/n scaling: Hanin 2018, arXiv:1801.03744.
    """
    if not math.isfinite(width):
        return 0.0
    ln_square = 2.5 * depth / width + 2 * math.sqrt(5 * depth / width)
    return ln_square / (2 * math.log(10))
