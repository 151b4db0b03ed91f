"""Causes that lie in the activations: between the layers, and at the output."""

from __future__ import annotations

import math

import numpy as np

from ..._language import t
from .._evidence import fan_in, first_update_ratio, lower_rate, weight_of
from .._gain import Gain, activations, gain_of
from .._history import Columns
from .._signal import signal
from .._text import decades, number
from ._cause import EXACT, STRONG, WEAK, Case, Clue, KnownCause
from ._output import output_clue
from ._readings import (
    RECURRENT,
    first_modules,
    in_order,
    kinds,
    last_modules,
    median_of,
    weighted,
    words,
)

MOST = 0.5  # share of a layer's units, or of its entries
ALL = 0.9
ROSE = 0.3  # share of units that died since the start (docs/science.md, 5: healthy start at most 47 %)
MANY_SIGMOIDS = 3  # of them pass on a 64th of the gradient at most
GATED = ("Attention", "Transformer")
STACKED = frozenset(
    f"{kind}{axes}"
    for kind in ("Conv", "BatchNorm", "Dropout", "AvgPool", "AveragePooling")
    for axes in ("", "1d", "2d", "3d", "1D", "2D", "3D")
) | {"Linear", "Dense", "Flatten", "Unflatten", "Reshape", "Identity", "BatchNormalization"}
"""Classes of which a plain stack is made, and that are linear: three weighted ones of them are never meant so."""
SHUTTERS = ("relu", "relu6")  # what can hold a unit at exactly 0


def _saturating(case: Case) -> Clue | None:
    step = case.first_step if case.trouble == "vanishing-gradient" else _start(case)
    found = activations(case.track.series.modules(step))
    gain = gain_of(case.track, step)
    if case.trouble in ("vanishing-gradient", "exploding-gradient"):
        return _shrinks(case, gain, found)
    return _is_saturated(case) or _many_sigmoids(gain, found)


def _start(case: Case) -> int:
    sampled = np.asarray(case.track.series.sampled_steps)
    return int(sampled[0]) if len(sampled) else 0


def _shrinks(case: Case, gain: Gain, found: list[str | None]) -> Clue | None:
    """The gradient is lost on its way back through sigmoids, or through tanh and its like with large weights."""
    if not gain.activation or not gain.is_saturating:
        return None
    pace = signal_pace(case)
    if gain.activation == "Sigmoid":
        why = t(
            "{activation} after {layers}, {pace} per layer; its slope is at most 0.25, so that each layer loses at "
            "least that",
            activation=gain.activation,
            layers=_how_many(found, gain.activation),
            pace=pace,
        )
    else:
        why = t(
            "{activation} after {layers}, {pace} per layer",
            activation=gain.activation,
            layers=_how_many(found, gain.activation),
            pace=pace,
        )
    return Clue(why, STRONG, (f"activation={gain.activation.lower()}>relu",))


def _how_many(found: list[str | None], activation: str) -> str:
    """ "every layer", "9 of 11 layers": of those with a layer behind them."""
    count = sum(kind == activation for kind in found)
    if count == len(found):
        return t("every layer")
    return t("{count} of {layers} layers", count=count, layers=len(found))


def signal_pace(case: Case) -> str:
    """By how much each layer changes the signal in the worst direction; empty where that is not known."""
    found = signal(case.track, live=case.history.live)
    if found is None or found.worst is None:
        return ""
    direction = found.worst[1]
    return decades(direction.log10_ratio / max(1, len(direction.by_depth) - 1))


def _is_saturated(case: Case) -> Clue | None:
    """Most entries that a hidden layer gets lie where the sigmoid or tanh before it is flat."""
    modules = last_modules(case)
    rows = weighted(modules)[1:]
    inner = in_order(modules)[: in_order(modules).index(rows[-1])] if rows else []
    found = [(_value(modules, "in_saturated", i), str(modules["in_after"][i]), i) for i in rows]
    found += [(_value(modules, "out_saturated", i), str(modules["kind"][i]), i) for i in inner]
    share, activation, row = max(found, default=(-1.0, "", -1))
    if share <= MOST:
        return None
    why = t(
        "at {module} {share} of the entries that {activation} gives lie where its slope is under a tenth of its "
        "largest",
        module=modules["module"][row],
        share=f"{share:.0%}",
        activation=activation.lower(),
    )
    return Clue(why, STRONG, (f"activation={activation.lower()}>relu", "init=xavier"))


def _many_sigmoids(gain: Gain, found: list[str | None]) -> Clue | None:
    count = sum(kind in ("Sigmoid", "Hardsigmoid") for kind in found)
    if not count or gain.activation not in ("Sigmoid", "Hardsigmoid"):
        return None
    why = t(
        "sigmoid after {layers}; its slope is at most 0.25, so that the first layer gets at most {share} of the "
        "gradient, times the weights",
        layers=_how_many(found, gain.activation),
        share=number(0.25**count),
    )
    return Clue(why, STRONG if count >= MANY_SIGMOIDS else WEAK, ("activation=sigmoid>relu",))


def _value(modules: Columns, name: str, row: int) -> float:
    column = modules.get(name)
    value = float(column[row]) if column is not None else math.nan
    return value if math.isfinite(value) else -1.0


def _dying(case: Case) -> Clue | None:
    since = _no_gradient_since(case)
    if since is not None and _may_die(case):
        why = t("since step {step} the gradient is exactly 0: no unit passes it on", step=since)
        return Clue(why, STRONG, _against_death(case))
    if median_of(case.track.series.losses, "output_zeros") > 0.99:
        return None  # the activation at the output: see output-activation-mismatch
    module, share, before = most_dead(case)
    least = ALL if case.trouble == "slow-loss" else MOST  # a loss that falls does so with the units that live
    if share < least or (share < ALL and share - before < ROSE):
        return None
    why = t(
        "{share} of the units before {module} answer 0 to every input ({before} at the first step)",
        share=f"{share:.0%}",
        module=module,
        before=f"{before:.0%}",
    )
    if share - before >= ROSE:
        return Clue(why, STRONG, _against_death(case))
    return Clue(why, EXACT if before == 1 else STRONG, ("init=he", LEAKY))


def most_dead(case: Case) -> tuple[str, float, float]:
    """The weighted module that is fed by the largest share of dead units at the end, that share, and the share at the
    first step."""
    now, then = _dead(last_modules(case)), _dead(first_modules(case.track))
    module, share = max(now.items(), key=lambda item: item[1], default=("", 0.0))
    return module, share, then.get(module, 0.0)


LEAKY = "activation=relu>leaky_relu"


def _against_death(case: Case) -> tuple[str, ...]:
    return (lower_rate(case.track), LEAKY) if first_update_ratio(case.track) > 0.1 else ("lr*0.1", LEAKY)


def _may_die(case: Case) -> bool:
    """An activation that can hold a unit at 0 stands between the layers, or what does is not seen."""
    modules = first_modules(case.track)
    after = words(modules, "in_after", weighted(modules)[1:])
    return not after or any(name in (*SHUTTERS, "") for name in after)


def _no_gradient_since(case: Case) -> int | None:
    norms = np.asarray(case.track.columns["grad_norm_raw"], dtype=np.float64)
    known = norms[np.isfinite(norms)]
    if len(known) <= 20 or known[-20:].any() or not known.any():
        return None
    return int(case.track.step[np.flatnonzero(np.nan_to_num(norms, nan=1.0) > 0)[-1]]) + 1


def _dead(modules: Columns) -> dict[str, float]:
    """Share of units that are 0 in every row, by the weighted module that they feed, the first one left out."""
    rows = weighted(modules)[1:]
    found: dict[str, float] = {}
    for i, after in zip(rows, words(modules, "in_after", rows), strict=True):
        share = _value(modules, "in_dead", i)
        if share >= 0 and after in SHUTTERS:
            found[str(modules["module"][i])] = max(share, found.get(str(modules["module"][i]), 0.0))
    return found


def _missing_activation(case: Case) -> Clue | None:
    """No activation before any inner layer: the whole net is one linear map."""
    modules = first_modules(case.track)
    if any(kind in RECURRENT or any(word in kind for word in GATED) for kind in kinds(modules)):
        return None
    after = words(modules, "in_after", weighted(modules)[1:])
    seen = [name for name in after if name]
    bare = sum(name == "none" for name in seen)
    if not seen or len(seen) < len(after) or bare <= len(seen) / 2:
        return None
    if bare == len(seen):
        why = t(
            "no activation stands between any of the {layers} weighted layers: together they are a single linear map",
            layers=len(after) + 1,
        )
        proven = len(after) >= 2 and kinds(modules) <= STACKED
        strength = WEAK if _narrows(case, modules) else EXACT if proven else STRONG
        return Clue(why, strength, ("activation=none>relu",))
    why = t("no activation stands before {bare} of {layers} inner layers", bare=bare, layers=len(seen))
    return Clue(why, WEAK, ("activation=none>relu",))


def _narrows(case: Case, modules: Columns) -> bool:
    """A layer is narrower than the inputs and the outputs: of a linear net that is a projection, and may be meant."""
    weights = [weight_of(case.track, str(modules["module"][i])) for i in weighted(modules)]
    matrices = [weight for weight in weights if weight is not None and len(weight["shape"]) == 2]
    if len(weights) < 2 or len(matrices) < len(weights):
        return False
    widths = [math.prod(int(n) for n in weight["shape"]) // max(1, fan_in(weight)) for weight in matrices]
    return min(widths[:-1]) < min(fan_in(matrices[0]), widths[-1])


CAUSES = (
    KnownCause(
        "saturating-activation",
        "Sigmoid and tanh are flat away from 0, and a gradient that passes a flat place is lost. Sigmoid's slope "
        "is at most 0.25, so that ten layers of it lose a million. Try activation=sigmoid>relu.",
        _saturating,
    ),
    KnownCause(
        "dying-activation",
        "Units that answer 0 to every input pass no gradient, and never come back. A step that was too long does "
        "this to a whole layer. Try lr*0.1, or activation=relu>leaky_relu with a fresh start.",
        _dying,
    ),
    KnownCause(
        "missing-activation",
        "Layers without an activation between them are one linear map, however many they are: nothing that is not "
        "linear in the inputs can be learned. Try activation=none>relu.",
        _missing_activation,
    ),
    KnownCause(
        "output-activation-mismatch",
        "The outputs have passed an activation that the loss applies again, or that cannot reach the targets. "
        "Cross-entropy on probabilities cannot fall under log(1 + (C - 1)/e), 1.46 for ten classes, however good "
        "the model; a ReLU cannot answer below 0; a softmax over one unit answers 1 to everything, and wants to be a "
        "sigmoid (activation=softmax>sigmoid). Else give the loss the scores before any activation: output=logits.",
        output_clue,
    ),
)
