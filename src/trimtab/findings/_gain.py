"""The gain of the weights, held against the one that keeps the signal's scale under the activation that is there."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from ._evidence import tensors
from ._history import Columns, Track
from ._text import number

RELU_GAIN = math.sqrt(2)
KEEPS_SCALE = {
    "": 1.0,
    "ReLU": RELU_GAIN,
    "ReLU6": RELU_GAIN,
    "LeakyReLU": math.sqrt(2 / (1 + 0.01**2)),
    "Tanh": 5 / 3,
    "GELU": 1 / math.sqrt(0.4252),
    "SiLU": 1 / math.sqrt(0.3558),
    "ELU": 1.245,
    "Mish": 1.487,
    "SELU": 1.0,
    "Sigmoid": 1.0,
    "Hardsigmoid": 1.0,
}
"""std(W) sqrt(fan in) that keeps a layer's scale, by the class of the activation after it; "" is none.

1/sqrt(E f(x)^2) for a normal x (measured in SCIENCE, section 6, no. 4; ELU and Mish by the same integral),
LeakyReLU at its default slope. Departures: Tanh has the usual 5/3 (forward it would be 1.59), and under
the sigmoids, which no gain keeps from shrinking the gradient, 1 stands for what is usual.
Source: He et al. 2015, arXiv:1502.01852, eq. 10 and 15; Klambauer et al. 2017, arXiv:1706.02515 (SELU).
"""
SATURATING = ("Sigmoid", "Tanh", "Softsign", "Hardsigmoid", "Hardtanh", "LogSigmoid")
SIGMOIDS = ("Sigmoid", "Hardsigmoid", "LogSigmoid")
OTHERS = ("PReLU", "Softplus", "Hardswish", "CELU", "RReLU", "GLU", "Threshold")
SMALL, LARGE = 0.85, 1.2  # times the gain that keeps the scale: over ten layers a factor of five either way
SAME = 1e-3  # relative: the next layer's input has the scale of this one's output, so that nothing lies between


class Gain(NamedTuple):
    """`value` of the weights (NaN if not recorded) and what it is held against; `activation` None: not seen."""

    value: float
    activation: str | None

    @property
    def wanted(self) -> float:
        """The gain that keeps the scale; ReLU's where the activation's own is not known."""
        return RELU_GAIN if self.activation is None else KEEPS_SCALE.get(self.activation, RELU_GAIN)

    @property
    def is_small(self) -> bool:
        return self.value < SMALL * self.wanted

    @property
    def is_large(self) -> bool:
        return self.value > LARGE * self.wanted

    @property
    def is_saturating(self) -> bool:
        """The activation is to blame: a sigmoid always; tanh and its like, which pass what is small unchanged,
        only where the weights are not small."""
        return self.activation in SIGMOIDS or (self.activation in SATURATING and not self.is_small)

    @property
    def remedy(self) -> str:
        return "init=xavier" if self.activation in SATURATING or self.wanted == 1 else "init=he"

    def __str__(self) -> str:
        """ "weights of gain 0.577 where 1.67 keeps the scale under Tanh"."""
        has = f"weights of gain {number(self.value)}"
        if self.activation is None:
            return f"{has}; which activation follows them is not seen (under ReLU {number(RELU_GAIN)} keeps the scale)"
        if self.activation not in KEEPS_SCALE:
            return f"{has}; which gain keeps the scale under {self.activation} is not known here"
        if self.activation in ("Sigmoid", "Hardsigmoid"):  # no gain keeps it
            return f"{has} where {number(self.wanted)} is usual under {self.activation}"
        under = f"under {self.activation}" if self.activation else "with no activation between the layers"
        return f"{has} where {number(self.wanted)} keeps the scale {under}"


def gain_of(track: Track, step: int) -> Gain:
    return Gain(weight_gain(track, step), usual_activation(track.series.modules(step)))


def activations(modules: Columns) -> list[str | None]:
    """What follows each weighted module but the last, in order of the forward pass: the class of the activation
    before the next one; "" where the next one's input has exactly this one's scale; None where that is not seen
    (a function such as F.relu)."""
    if not len(modules.get("call", ())):
        return []
    found: list[str | None] = []
    current, kind = -1, None
    for i in np.argsort(modules["call"], kind="stable"):
        name = str(modules["kind"][i])
        if modules["weighted"][i] and name != "Embedding":
            if current >= 0:
                found.append("" if kind is None and _same_scale(modules, current, int(i)) else kind)
            current, kind = int(i), None
        elif kind is None and (name in KEEPS_SCALE or name in SATURATING or name in OTHERS):
            kind = name
    return found


def usual_activation(modules: Columns) -> str | None:
    """The one that follows more than half of the layers; None where there is none such, or it is not seen."""
    found = activations(modules)
    name, count = Counter(found).most_common(1)[0] if found else (None, 0)
    return name if 2 * count > len(found) else None


def weight_gain(track: Track, step: int) -> float:
    """Median over weight matrices of std(W) * sqrt(fan in), unitless. NaN where weights or shapes are not recorded."""
    rows = track.series.tensors(step)
    norms = dict(zip(rows.get("tensor", ()), rows.get("weight_norm", ()), strict=False)) if rows else {}
    gains = [_gain(float(norms[t["name"]]), t["shape"]) for t in tensors(track) if t["name"] in norms]
    known = [gain for gain in gains if math.isfinite(gain)]
    return float(np.median(known)) if known else math.nan


def _gain(norm: float, shape: list[int]) -> float:
    if len(shape) < 2:
        return math.nan
    entries, fan_in = math.prod(shape), math.prod(shape[1:])
    return norm / math.sqrt(entries) * math.sqrt(fan_in) if entries else math.nan


def _same_scale(modules: Columns, earlier: int, later: int) -> bool:
    out, into = float(modules["out_rms"][earlier]), float(modules["in_rms"][later])
    return abs(into - out) <= SAME * abs(out)
