"""Outputs that the loss does not want: activated twice, not activated at all, or out of reach of the targets."""

from __future__ import annotations

import math

import numpy as np

from ..._language import t
from .._text import number
from ._cause import EXACT, STRONG, Case, Clue
from ._readings import VALUE_LOSSES, largest_of, least_of, measured, median_of, word_of

LOGITS = ("output=logits",)
LINEAR = ("output=linear",)
SIGMOID = ("activation=softmax>sigmoid",)
UNBOUNDED = ("relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
RANGES = {
    "relu": (0.0, math.inf),
    "relu6": (0.0, 6.0),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "softplus": (0.0, math.inf),
    "logsigmoid": (-math.inf, 0.0),
    "log_softmax": (-math.inf, 0.0),
}
"""What an activation can answer."""
SPREAD_OF_LOGS = 0.98  # of the 1 that log_softmax of probabilities can spread over
MARGIN = 0.1  # standard deviations of the targets that may lie out of reach: noise at the edge of the range
SQUASHING = ("sigmoid", "tanh", "relu", "relu6", "hardsigmoid", "hardtanh", "softsign")


def output_clue(case: Case) -> Clue | None:
    kind = case.track.loss_kind
    if (found := _single_unit(case)) is not None:
        return found
    if kind == "cross_entropy":
        return _twice(case)
    if kind in ("nll", "bce") and (relu := _relu_for_probabilities(case)) is not None:
        return relu
    if kind in ("nll", "kl_div"):
        return _not_logarithms(case)
    if kind == "bce_logits":
        return _sigmoid_twice(case)
    if kind == "bce":
        return _not_probabilities(case)
    return _out_of_reach(case) if kind in VALUE_LOSSES else None


def _single_unit(case: Case) -> Clue | None:
    """Softmax over a single unit: exactly 1 whatever the input."""
    losses = case.track.series.losses
    low, high = least_of(losses, "output_min"), largest_of(losses, "output_max")
    after = word_of(losses, "output_after")
    if not low == high == 1.0 or len(measured(losses, "output_min")) < 2 or after not in ("softmax", ""):
        return None
    why = t("every output is exactly 1, whatever the input: a softmax over a single unit")
    return Clue(why, EXACT if after else STRONG, SIGMOID if case.track.loss_kind == "bce" else LOGITS)


def _twice(case: Case) -> Clue | None:
    """Cross-entropy on what softmax, or another activation, has gone over."""
    losses = case.track.series.losses
    after = word_of(losses, "output_after")
    if median_of(losses, "rows_sum_to_one") > 0.99 or after == "softmax":
        why = t(
            "the outputs given to cross-entropy are probabilities already (each row sums to 1); it applies softmax "
            "itself and wants the scores before it"
        )
        return Clue(why, EXACT, LOGITS)
    zeros = median_of(losses, "output_zeros")
    if after in SQUASHING:
        why = t(
            "the outputs given to cross-entropy have passed {activation}, which leaves them between {low} and {high}; "
            "it wants scores without bounds",
            activation=after,
            low=number(least_of(losses, "output_min")),
            high=number(largest_of(losses, "output_max")),
        )
        return Clue(why, STRONG, LOGITS)
    if not after and zeros > 0.3 and least_of(losses, "output_min") == 0:
        why = t(
            "{share} of the outputs given to cross-entropy are exactly 0 and none is below: a ReLU at the output",
            share=f"{zeros:.0%}",
        )
        return Clue(why, STRONG, LOGITS)
    return None


def _not_logarithms(case: Case) -> Clue | None:
    """NLL and KL divergence want logarithms of probabilities, which are never above 0."""
    losses = case.track.series.losses
    highest = median_of(losses, "output_max")
    if not highest > 1e-4:
        return _log_softmax_of_softmax(case)
    why = t(
        "{loss} wants logarithms of probabilities, which are never above 0, and was given outputs up to {high}: "
        "log_softmax is missing (in Keras: softmax, or from_logits=True)",
        loss=case.track.loss_kind,
        high=number(largest_of(losses, "output_max")),
    )
    return Clue(why, EXACT, ("loss=cross_entropy",) if case.track.loss_kind == "nll" else ("output=log_softmax",))


def _log_softmax_of_softmax(case: Case) -> Clue | None:
    """log_softmax of values between 0 and 1 spreads over at most 1, and is at most 1 - log(e + classes - 1); a model
    that learns drives it to both."""
    losses = case.track.series.losses
    highest, classes = largest_of(losses, "output_max"), largest_of(losses, "classes")
    spread = highest - least_of(losses, "output_min")
    if case.track.loss_kind != "nll" or not classes > 1 or not SPREAD_OF_LOGS < spread <= 1 + 1e-4:
        return None
    if abs(highest - (1 - math.log(math.e + classes - 1))) > 1 - SPREAD_OF_LOGS:
        return None
    why = t(
        "the outputs never spread over more than 1 ({low} to {high}), as log_softmax gives them for what softmax has "
        "gone over already",
        low=number(least_of(losses, "output_min")),
        high=number(largest_of(losses, "output_max")),
    )
    return Clue(why, EXACT, LOGITS)


def _relu_for_probabilities(case: Case) -> Clue | None:
    """A loss of probabilities, or of their logarithms, on what a ReLU has gone over."""
    after, kind = word_of(case.track.series.losses, "output_after"), case.track.loss_kind
    if after not in UNBOUNDED:
        return None
    wanted = "sigmoid" if kind == "bce" else "softmax"
    why = t(
        "the outputs given to {loss} have passed {activation}; it wants probabilities, as {wanted} gives them",
        loss=kind,
        activation=after,
        wanted=wanted,
    )
    return Clue(why, EXACT, (f"activation={after}>{wanted}",))


def _not_probabilities(case: Case) -> Clue | None:
    """Binary cross-entropy of what no sigmoid has gone over: torch refuses it, Keras cuts it off in silence."""
    losses = case.track.series.losses
    low, high = least_of(losses, "output_min"), largest_of(losses, "output_max")
    if not (low < -1e-6 or high > 1 + 1e-6):
        return None
    why = t(
        "binary cross-entropy wants probabilities, and was given outputs from {low} to {high}: the sigmoid is missing",
        low=number(low),
        high=number(high),
    )
    return Clue(why, EXACT, ("loss=bce_logits",))


def _sigmoid_twice(case: Case) -> Clue | None:
    losses = case.track.series.losses
    after = word_of(losses, "output_after")
    if after not in SQUASHING and after != "softmax":
        return None
    why = t(
        "the outputs given to bce_with_logits have passed {activation} (they lie between {low} and {high}); it applies "
        "sigmoid itself and wants the scores before it",
        activation=after,
        low=number(least_of(losses, "output_min")),
        high=number(largest_of(losses, "output_max")),
    )
    return Clue(why, EXACT if after in ("sigmoid", "softmax") else STRONG, LOGITS)


def _out_of_reach(case: Case) -> Clue | None:
    """Targets that the activation at a regression's output cannot answer."""
    losses = case.track.series.losses
    after, zeros = word_of(losses, "output_after"), median_of(losses, "output_zeros")
    low, high = least_of(losses, "target_min"), largest_of(losses, "target_max")
    if after in RANGES and np.isfinite([low, high]).all():
        least, most = RANGES[after]
        margin = MARGIN * median_of(losses, "target_std")
        if low < least - margin or high > most + margin:
            why = t(
                "the outputs have passed {activation}, which answers {least} to {most}; the targets go from {low} to "
                "{high}",
                activation=after,
                least=number(least),
                most=number(most),
                low=number(low),
                high=number(high),
            )
            return Clue(why, EXACT if _bulk(case, least, most) else STRONG, LINEAR)
    if after in ("", "relu") and zeros > 0.9:
        why = t("{share} of the outputs are exactly 0: a ReLU at the output passes no gradient", share=f"{zeros:.0%}")
        return Clue(why, STRONG, LINEAR)
    return None


def _bulk(case: Case, least: float, most: float) -> bool:
    """The mean of the targets, or one standard deviation from it, is out of reach."""
    losses = case.track.series.losses
    mean, std = median_of(losses, "target_mean"), median_of(losses, "target_std")
    return mean - std < least or mean + std > most
