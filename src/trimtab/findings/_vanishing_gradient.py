"""vanishing-gradient: the signal shrinks by decades between the first layer and the last."""

from __future__ import annotations

from collections.abc import Iterator

from .._language import t
from ._at_start import MILD, first_process, got_over, is_mild, severity_of, signal_places, signal_readings
from ._finding import Finding
from ._history import History, Track
from ._lost import lost
from ._progress import MUCH_LEFT, progress
from ._signal import DEEP, LIMIT, LIVE_LIMIT, NOTHING, SHALLOW_LIMIT, UNEVEN_LIMIT, Direction, Signal, signal
from ._text import fold
from ._trouble import Trouble
from .causes import Case, explain


def vanishing_gradient(history: History) -> Iterator[Finding]:
    for track in first_process(history):
        found = signal(track, live=history.live)
        if found and (worst := found.worst) and worst[1].log10_ratio < 0:
            yield _finding(history, track, found, *worst)


def _finding(history: History, track: Track, found: Signal, name: str, direction: Direction) -> Finding:
    case = Case("vanishing-gradient", history, track, found.step, track.last_step)
    causes, remedies = explain(case, TROUBLE.causes)
    severity = severity_of(history, recovered="warning" if _most_is_ahead(history) else "note")
    why = got_over()
    if not history.live and severity != "note" and is_mild(direction) and lost(history, track) is not None:
        severity, why = "note", t("; what the loss did after the first steps explains the run better")
    return Finding(
        "vanishing-gradient",
        severity,
        found.step,
        track.last_step,
        _says(found, name, direction, noted=why if severity == "note" else ""),
        signal_places(history, track, found, name),
        signal_readings(found, direction, name),
        causes,
        () if severity == "note" else remedies,
    )


def _most_is_ahead(history: History) -> bool:
    """Better than chance, but not by half: a signal that hardly gets through may be what holds it there."""
    state = progress(history)
    return state.by_chance and state.last > MUCH_LEFT * state.reference


def _says(found: Signal, name: str, direction: Direction, *, noted: str = "") -> str:
    step, path = found.step, found.path
    if min(direction.by_depth) <= -NOTHING:
        if name == "backward":
            return t("at step {step} no gradient at all gets through {path}", step=step, path=path) + noted
        return t("at step {step} no signal at all gets through {path}", step=step, path=path) + noted
    times = fold(direction.log10_ratio)
    if name == "backward":
        says = t(
            "at step {step} the gradient becomes {times} smaller on its way back through {path}",
            step=step,
            times=times,
            path=path,
        )
        return says + (noted or t(": the first ones hardly learn"))
    says = t(
        "at step {step} the signal becomes {times} smaller on its way through {path}", step=step, times=times, path=path
    )
    return says + (noted or t(": the last ones hardly see the input"))


TROUBLE = Trouble(
    name="vanishing-gradient",
    summary="The signal shrinks by decades between the first layer and the last, or its gradient on the way back.",
    measures="At the first step, over the layers with weights in order of the forward pass, the last one and "
    "embeddings left out: the root mean square of each output (forward), and the 2-norm of the loss's gradient by "
    "each output (backward; between layers of one size that ratio is the ratio of root mean squares). The change over "
    "the whole depth, in decades (factors of ten), by a resistant line, so that one odd layer does not decide. Never "
    "the ratio of weight gradients, which does not show it: each is the product of a forward and a backward scale.",
    hurts="Layers that receive no gradient stay at their random start; layers whose input hardly varies have "
    "nothing to learn from.",
    is_not=(
        "Frozen layers, branches that begin at zero, a head with small weights.",
        "What finite width alone does: the logarithm of the squared scale after D layers of width n has a mean of "
        "-2.5 D/n and a variance of 5 D/n, which is allowed for.",
        "Over time, inside an RNN or LSTM: its time steps are one call, and their gradients are not seen.",
        "A training that came out well all the same (Adam undoes the scale of a gradient): a note; a warning where the "
        f"loss ended above {MUCH_LEFT:.0%} of chance.",
        f"A signal within {MILD:g} decades of the limit, in a run whose loss was then lost: a note, since what "
        "happened after the first steps explains that better.",
    ),
    threshold=f"{LIMIT:g} decades where the change goes on layer by layer (measured on 26 nets, in-sample: 8 of 8 "
    f"that no optimizer could train, 2 false alarms of 18); {UNEVEN_LIMIT:g} where it does not, {SHALLOW_LIMIT:g} "
    f"with fewer than {DEEP} layers, {LIVE_LIMIT:g} while the training runs. Set by hand; how often it is right is "
    "measured by studies/calibration.",
    causes=(
        "saturating-activation",
        "learning-rate-too-high",
        "over-smoothing",
        "initial-weights-too-small",
        "constant-initial-weights",
        "dying-activation",
        "depth-without-normalisation",
    ),
    remedies="activation=sigmoid>relu, init=he (ReLU) or init=xavier (tanh), norm=layer, or a skip connection around "
    "every two layers.",
    rule=vanishing_gradient,
    sources=(
        "Glorot and Bengio 2010, sec. 4.2",
        "He et al. 2015, arXiv:1502.01852, sec. 2.2",
        "Hanin 2018, arXiv:1801.03744",
    ),
    leads_to=frozenset({"stalled-loss", "slow-loss", "constant-output", "idle-parameter"}),
)
