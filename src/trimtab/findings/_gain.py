"""The gain of the weights, held against the one that keeps the signal's scale under the activation that is there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._language import t
from ._evidence import fan_in, tensors
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

1/sqrt(E f(x)^2) for a normal x (docs/science.md, gains; ELU and Mish by the same integral),
LeakyReLU at its default slope. Departures: Tanh has the usual 5/3 (forward it would be 1.59), and under
the sigmoids, which no gain keeps from shrinking the gradient, 1 stands for what is usual.
Source: He et al. 2015, arXiv:1502.01852, eq. 10 and 15; Klambauer et al. 2017, arXiv:1706.02515 (SELU).
"""
SATURATING = ("Sigmoid", "Tanh", "Softsign", "Hardsigmoid", "Hardtanh", "LogSigmoid")
SIGMOIDS = ("Sigmoid", "Hardsigmoid", "LogSigmoid")
OTHERS = ("PReLU", "Softplus", "Hardswish", "CELU", "RReLU", "GLU", "Threshold")
SMALL, LARGE = 0.85, 1.2  # times the gain that keeps the scale: over ten layers a factor of five either way
NAMES = {
    "none": "",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "prelu": "PReLU",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "Softplus",
    "hardswish": "Hardswish",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softsign": "Softsign",
    "hardsigmoid": "Hardsigmoid",
    "hardtanh": "Hardtanh",
    "logsigmoid": "LogSigmoid",
    "glu": "GLU",
}
"""The column in_after -> the class of the same activation."""
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
        gain, wanted, activation = number(self.value), number(self.wanted), self.activation
        if activation is None:
            return t(
                "weights of gain {gain}; which activation follows them is not seen "
                "(under ReLU {wanted} keeps the scale)",
                gain=gain,
                wanted=number(RELU_GAIN),
            )
        if activation not in KEEPS_SCALE:
            return t(
                "weights of gain {gain}; which gain keeps the scale under {activation} is not known here",
                gain=gain,
                activation=activation,
            )
        if activation in ("Sigmoid", "Hardsigmoid"):  # no gain keeps it
            return t(
                "weights of gain {gain} where {wanted} is usual under {activation}",
                gain=gain,
                wanted=wanted,
                activation=activation,
            )
        if not activation:
            return t(
                "weights of gain {gain} where {wanted} keeps the scale with no activation between the layers",
                gain=gain,
                wanted=wanted,
            )
        return t(
            "weights of gain {gain} where {wanted} keeps the scale under {activation}",
            gain=gain,
            wanted=wanted,
            activation=activation,
        )


def gain_of(track: Track, step: int) -> Gain:
    return Gain(weight_gain(track, step), usual_activation(track.series.modules(step)))


def activations(modules: Columns) -> list[str | None]:
    """What follows each weighted module but the last, in order of the forward pass: the class of the activation
    before the next one, or of the function that the next one's input has passed (in_after); "" for none, also where
    the next one's input has exactly this one's scale; None where that is not seen."""
    if not len(modules.get("call", ())):
        return []
    found: list[str | None] = []
    current, kind = -1, None
    for i in np.argsort(modules["call"], kind="stable"):
        name = str(modules["kind"][i])
        if modules["weighted"][i] and name != "Embedding":
            if current >= 0:
                found.append(kind or _function(modules, current, int(i)))
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
    gains = [_gain(float(norms[t["name"]]), t) for t in tensors(track) if t["name"] in norms]
    known = [gain for gain in gains if math.isfinite(gain)]
    return float(np.median(known)) if known else math.nan


def _gain(norm: float, tensor: Mapping[str, Any]) -> float:
    entries = math.prod(int(n) for n in tensor["shape"])
    if len(tensor["shape"]) < 2 or not entries:
        return math.nan
    return norm / math.sqrt(entries) * math.sqrt(fan_in(tensor))


def _function(modules: Columns, earlier: int, later: int) -> str | None:
    """The activation between two weighted modules that is no module itself."""
    column = modules.get("in_after")
    name = column[later] if column is not None else None
    if name:
        return NAMES.get(str(name))
    return "" if _same_scale(modules, earlier, later) else None


def _same_scale(modules: Columns, earlier: int, later: int) -> bool:
    out, into = float(modules["out_rms"][earlier]), float(modules["in_rms"][later])
    return abs(into - out) <= SAME * abs(out)
