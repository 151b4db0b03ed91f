"""vanishing-gradient: the signal shrinks by decades between the first layer and the last."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ._at_start import GOT_OVER, first_process, normalised, severity_of, signal_places, signal_readings
from ._evidence import LARGE_UPDATE, first_update_ratio, lower_rate, of_their_size
from ._finding import Cause, Finding
from ._gain import activations, gain_of
from ._history import History, Track
from ._lost import lost
from ._signal import DEEP, LIMIT, LIVE_LIMIT, NOTHING, SHALLOW_LIMIT, UNEVEN_LIMIT, Direction, Signal, signal
from ._text import decades, fold
from ._trouble import Trouble

MILD = 2.0  # decades beyond the limit, which a learning rate that is far too high outweighs


def vanishing_gradient(history: History) -> Iterator[Finding]:
    for track in first_process(history):
        found = signal(track, live=history.live)
        if found and (worst := found.worst) and worst[1].log10_ratio < 0:
            yield _finding(history, track, found, *worst)


def _finding(history: History, track: Track, found: Signal, name: str, direction: Direction) -> Finding:
    causes, remedies = _causes(track, found, direction)
    severity = severity_of(history, recovered="note")
    why = GOT_OVER
    if not history.live and severity != "note" and _is_mild(direction) and lost(history, track) is not None:
        severity, why = "note", "; what the loss did after the first steps explains the run better"
    return Finding(
        "vanishing-gradient",
        severity,
        found.step,
        track.last_step,
        _says(found, name, direction, noted=why if severity == "note" else ""),
        signal_places(history, track, found, name),
        signal_readings(found, direction, name),
        tuple(causes),
        () if severity == "note" else tuple(remedies),
    )


def _is_mild(direction: Direction) -> bool:
    return abs(direction.log10_ratio) < direction.limit + direction.drift + MILD


def _says(found: Signal, name: str, direction: Direction, *, noted: str = "") -> str:
    if min(direction.by_depth) <= -NOTHING:
        what = "gradient" if name == "backward" else "signal"
        return f"at step {found.step} no {what} at all gets through {found.path}{noted}"
    if name == "backward":
        return (
            f"at step {found.step} the gradient becomes {fold(direction.log10_ratio)} smaller on its way back "
            f"through {found.path}{noted or ': the first ones hardly learn'}"
        )
    return (
        f"at step {found.step} the signal becomes {fold(direction.log10_ratio)} smaller on its way through "
        f"{found.path}{noted or ': the last ones hardly see the input'}"
    )


def _causes(track: Track, found: Signal, direction: Direction) -> tuple[list[Cause], list[str]]:
    modules = track.series.modules(found.step)
    gain = gain_of(track, found.step)
    pace = decades(direction.log10_ratio / max(1, len(direction.by_depth) - 1))
    causes: list[Cause] = []
    remedies: list[str] = []
    if gain.activation and gain.is_saturating:
        bound = "; its slope is at most 0.25, so that each layer loses at least that"
        causes.append(
            Cause(
                "saturating-activation",
                f"{gain.activation} after {_how_many(activations(modules), gain.activation)}, {pace} per layer"
                + (bound if gain.activation == "Sigmoid" else ""),
            )
        )
        remedies.append(f"activation={gain.activation.lower()}>relu")
    first = first_update_ratio(track)
    if first > LARGE_UPDATE and _is_mild(direction):
        why = f"the first step changed the weights by {of_their_size(first)}"
        causes.append(Cause("learning-rate-too-high", why))
        remedies.append(lower_rate(track))
    if gain.is_small or (math.isnan(gain.value) and not {cause.cause for cause in causes} & {"saturating-activation"}):
        measured = f"each layer passes on {pace}" if math.isnan(gain.value) else str(gain)
        causes.append(Cause("initial-weights-too-small", measured))
        remedies.append(gain.remedy)
    if not normalised(modules):
        causes.append(
            Cause("depth-without-normalisation", f"{len(found.layers)} layers and no normalisation among them")
        )
        remedies.append("norm=layer")
    return causes, remedies


def _how_many(found: Sequence[str | None], activation: str) -> str:
    """ "every layer", "9 of 11 layers": of those with a layer behind them."""
    count = sum(kind == activation for kind in found)
    return "every layer" if count == len(found) else f"{count} of {len(found)} layers"


TROUBLE = Trouble(
    name="vanishing-gradient",
    summary="The signal shrinks by decades between the first layer and the last, or its gradient on the way back.",
    measures="At step 0, over the weighted layers in order of the forward pass, head and embeddings left out: the "
    "root mean square of each output (forward), and the 2-norm of the loss's gradient by each output (backward; "
    "between layers of one size that ratio is the ratio of root mean squares). The change over the whole depth, in "
    "decades, by a resistant line. Never the ratio of weight gradients, which is blind to it.",
    hurts="Layers that receive no gradient stay at their random start; layers that see a constant have "
    "nothing to learn from.",
    is_not=(
        "Frozen layers, branches that begin at zero, a head with small weights.",
        "What finite width alone does: mean -2.5 D/n and variance 5 D/n of the squared scale's logarithm "
        "are allowed for.",
        "Over time, inside an RNN or LSTM: its steps are one call, and their gradients are not seen.",
        "A training that came out well all the same (Adam undoes the scale of a gradient): a note.",
        f"The reason why a loss went far beyond its start, where the signal is within {MILD:g} decades of the limit: "
        "a note.",
    ),
    threshold=f"{LIMIT:g} decades where the change goes on layer by layer (measured on 26 nets, in-sample: "
    "8 of 8 that no "
    f"optimizer could train, 2 false alarms of 18); {UNEVEN_LIMIT:g} where it does not, {SHALLOW_LIMIT:g} "
    "with fewer than "
    f"{DEEP} layers, {LIVE_LIMIT:g} while the training runs. The last three, and all of them on convolutional nets and "
    "transformers, are to be calibrated.",
    causes=(
        "saturating-activation",
        "initial-weights-too-small",
        "depth-without-normalisation",
        "dying-activation",
        "learning-rate-too-high",
    ),
    remedies="activation=sigmoid>relu, init=he (ReLU) or init=xavier (tanh), norm=layer, or a skip connection around "
    "every two layers.",
    rule=vanishing_gradient,
    sources=(
        "Glorot and Bengio 2010, sec. 4.2",
        "He et al. 2015, arXiv:1502.01852, sec. 2.2",
        "Hanin 2018, arXiv:1801.03744",
    ),
    leads_to=frozenset({"stalled-loss"}),
)
