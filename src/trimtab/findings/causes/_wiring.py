"""Causes that lie in how model, loss and optimizer are connected."""

from __future__ import annotations

import math

import numpy as np

from ..._language import t
from .._evidence import tensors
from .._history import Track
from .._mirrored import mirrored_loss
from .._sums import ROUNDING
from .._text import listed, number, plural
from ._cause import EXACT, STRONG, WEAK, Case, Clue, KnownCause
from ._process import exception_text
from ._readings import largest_of, least_of, measured, median_of, steps_with_modules, word_of

ALWAYS = 0.9  # of the sampled steps


def _missing_zero_grad(case: Case) -> Clue | None:
    losses = case.track.series.losses
    later = np.asarray(losses.get("step", ())) > 0  # what is there before the first step may be from a trial run
    norms = np.asarray(losses.get("leftover_grad_norm", ()), dtype=np.float64)[later]
    if not len(norms) or np.mean(norms > 0) < ALWAYS:
        return None
    left = float(np.median(norms[norms > 0]))
    why = t(
        "a gradient of norm {norm} was still there when a step's backward pass began: zero_grad() is missing",
        norm=number(left),
    )
    return Clue(why, EXACT, ("zero_grad=on",))


def _frozen(case: Case) -> Clue | None:
    """Parameters that no optimizer holds, or that want no gradient."""
    held = tensors(case.track)
    untrained = [str(name) for name in case.track.series.info.get("untrained") or ()]
    still = [str(entry["name"]) for entry in held if entry.get("trainable") is False]
    if untrained:
        why = t(
            "{count} of the model are in no optimizer: {names}",
            count=plural(len(untrained), "parameter tensor"),
            names=listed(untrained),
        )
        return Clue(why, EXACT if case.trouble == "idle-parameter" else STRONG)
    if not still:
        return None
    entries = {str(entry["name"]): math.prod(int(n) for n in entry["shape"]) for entry in held}
    share = sum(entries[name] for name in still) / max(1, sum(entries.values()))
    why = t("requires_grad is off for {share} of the parameters: {names}", share=f"{share:.0%}", names=listed(still))
    return Clue(why, STRONG if share > 0.5 or case.trouble == "idle-parameter" else WEAK)


def _detached(case: Case) -> Clue | None:
    if case.trouble == "crash":
        return _without_graph(exception_text(case.history))
    norms = measured(case.track.columns, "grad_norm_raw")
    if len(norms) and not norms.any():
        if _outputs_are_stuck(case.track) or median_of(case.track.columns, "loss") == 0:
            return None
        why = t("the gradient is exactly 0 at every step: the loss does not depend on these parameters")
        return Clue(why, EXACT)
    absent = _without_gradient(case.track)
    if not absent:
        return None
    why = t(
        "{names} never had a gradient, though the optimizer holds them: the loss does not depend on them",
        names=listed(absent),
    )
    return Clue(why, EXACT if case.trouble == "idle-parameter" else STRONG)


def _without_graph(exception: str) -> Clue | None:
    """torch's own complaint of a loss that does not depend on anything that could be trained."""
    if "does not require grad and does not have a grad_fn" not in exception:
        return None
    return Clue(t("backward() was called on a loss that depends on no parameter that is trained"), EXACT)


def _outputs_are_stuck(track: Track) -> bool:
    """A constant output (a dead ReLU, a softmax over one unit) stops every gradient without any detaching, and so do
    probabilities that are cut off at 0 or 1."""
    losses = track.series.losses
    low, high = least_of(losses, "output_min"), largest_of(losses, "output_max")
    least = math.log(2 * ROUNDING) if track.loss_kind == "nll" else ROUNDING
    cut_off = word_of(losses, "output_after") in ("softmax", "sigmoid") and low < least
    return median_of(losses, "output_zeros") > 0.99 or high == low or cut_off


def _without_gradient(track: Track) -> list[str]:
    """Parameters that have no row at any of up to twelve sampled steps, while others have."""
    seen: set[str] = set()
    for step in steps_with_modules(track):
        seen |= {str(name) for name in track.series.tensors(step).get("tensor", ())}
    wanted = [str(entry["name"]) for entry in tensors(track) if entry.get("trainable") is not False]
    return [name for name in wanted if name not in seen] if seen else []


def _wrong_sign(case: Case) -> Clue | None:
    if _maximises(case.track):
        return Clue(t("the optimizer was told to maximise the loss (maximize=True)"), EXACT)
    mirrored = mirrored_loss(case.track)
    if mirrored is not None:
        given, returned = mirrored
        why = t(
            "the loss that was minimised is {given} where the loss function returned {returned}: its sign was turned",
            given=number(given),
            returned=number(returned),
        )
        return Clue(why, EXACT)
    runs_away = len(case.track.finite_loss) and case.track.finite_loss[-1] < 0
    if case.trouble == "diverging-loss" and runs_away and not least_of(case.track.series.losses, "value") < 0:
        why = t("a loss that is minimised towards minus infinity usually has the wrong sign")
        return Clue(why, STRONG)
    return None


def _maximises(track: Track) -> bool:
    groups = track.series.info.get("groups") or ()
    return any(isinstance(group, dict) and group.get("maximize") is True for group in groups)


CAUSES = (
    KnownCause(
        "missing-zero-grad",
        "Gradients add up over steps, since optimizer.zero_grad() is not called. Seen exactly: the gradient is not "
        "zero when the first backward pass of a step begins.",
        _missing_zero_grad,
    ),
    KnownCause(
        "frozen-parameters",
        "Parameters that are meant to learn stay as they are: no optimizer was given them, or requires_grad is off. "
        "A layer kept in a plain Python list instead of a ModuleList is not among model.parameters(); nor is one that "
        "was made after the optimizer.",
        _frozen,
    ),
    KnownCause(
        "detached-graph",
        "The loss does not depend on the parameters that are optimized: .detach(), .item(), numpy() or "
        "torch.no_grad() stands between them. Their gradient is absent or exactly zero.",
        _detached,
    ),
    KnownCause(
        "wrong-sign",
        "The loss is maximised, or its least value is minus infinity. It falls for ever, by decades. Look at the "
        "sign of the loss, and for a logarithm or a distance that has no bound.",
        _wrong_sign,
    ),
)
