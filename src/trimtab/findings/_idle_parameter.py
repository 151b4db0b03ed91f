"""idle-parameter: a parameter that no step moves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._language import t
from ._evidence import tensors
from ._finding import Finding
from ._history import Array, History, Track
from ._progress import progress
from ._reported import reported
from ._text import listed, plural
from ._trouble import Trouble
from .causes import Case

LIMIT = 12  # steps looked at
FEW = 3  # fewer say nothing of one tensor
CERTAIN = 10  # steps after which all gradients having been 0 is no beginning
MUCH = 0.1  # of all entries
CAUSES = (
    "detached-graph",
    "frozen-parameters",
    "inputs-unscaled",
    "dying-activation",
    "constant-initial-weights",
    "updates-lost-in-rounding",
    "invalid-operation",
)


def idle_parameter(history: History) -> Iterator[Finding]:
    if not history.tracks:
        return
    first = history.tracks[0].process
    for track in history.tracks:
        if track.process == first and _is_dead(track):
            yield _all(history, track)
            return
    if not history.live:
        yield from _some(history)


def _is_dead(track: Track) -> bool:
    """The gradient was 0, or there was none, at every step, for ten steps or more."""
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)
    known = norms[np.isfinite(norms)]
    return len(known) >= CERTAIN and len(known) >= 0.9 * len(norms) and not known.any() and bool(track.has_loss.any())


def _all(history: History, track: Track) -> Finding:
    return reported(
        Case("idle-parameter", history, track, int(track.step[0]), track.last_step),
        "fatal",
        t(
            "the gradient of every parameter is exactly 0 at every one of {steps}: nothing can be learned",
            steps=plural(len(track), "step"),
        ),
        [history.place(track)] if history.several else [],
        {"idle": len(tensors(track)), "tensors": len(tensors(track)), "share": 1.0, "threshold": 1.0},
        CAUSES,
    )


def _some(history: History) -> Iterator[Finding]:
    """Single tensors: without a gradient at every step looked at, on every process, or in no optimizer at all."""
    track = history.tracks[0]
    tracks = [other for other in history.tracks if other.optimizer == track.optimizer]
    idle = _without_gradient(track)
    for other in tracks[1:]:
        idle &= _without_gradient(other)
    frozen = {str(tensor["name"]) for tensor in tensors(track) if tensor.get("trainable") is False}
    untrained = _untrained(history, track)
    names = [*sorted(idle - frozen), *untrained, *sorted(idle & frozen)]
    if not names:
        return
    everything = len(tensors(track)) + len(untrained)
    share = _share(track, idle - frozen)
    yield reported(
        Case("idle-parameter", history, track, int(track.step[0]), track.last_step),
        _severity(history, share),
        _says(sorted(idle - frozen), untrained, sorted(idle & frozen), everything),
        [history.place(track, tensor=name) for name in names[:20]],
        {
            "idle": len(idle - frozen),
            "in_no_optimizer": len(untrained),
            "frozen": len(idle & frozen),
            "tensors": everything,
            "share": share,
            "threshold": MUCH,
        },
        CAUSES,
    )


def _severity(history: History, share: float) -> str:
    """Most idle tensors are meant to be: an unused head, a frozen body. Not where the loss stands still."""
    stuck = progress(history).state in ("stuck", "constant", "plateau")
    return "warning" if stuck and share >= MUCH else "note"


def _without_gradient(track: Track) -> set[str]:
    """Of the optimizer's tensors those that had no gradient, or one of exact zeros, at every step looked at."""
    idle = {str(tensor["name"]) for tensor in tensors(track)}
    seen = 0
    for step in _steps(track):
        rows = track.series.tensors(step)
        if not len(rows.get("tensor", ())):
            continue
        seen += 1
        norms = np.asarray(rows["grad_norm_raw"], dtype=np.float64)
        norms = np.where(np.isfinite(norms), norms, np.asarray(rows["grad_norm"], dtype=np.float64))
        idle -= {str(name) for name in rows["tensor"][norms != 0]}
        if not idle:
            return set()
    return idle if seen >= FEW or seen == len(track) > 0 else set()


def _steps(track: Track) -> list[int]:
    """Some steps, and some of the sampled ones, whose tensors are kept for longest."""
    sampled = np.asarray(track.series.sampled_steps)
    return sorted({int(step) for steps in (track.step, sampled) if len(steps) for step in _spread(steps)})


def _spread(steps: Array) -> Array:
    return np.asarray(steps[np.unique(np.linspace(0, len(steps) - 1, LIMIT).astype(int))])


def _untrained(history: History, track: Track) -> list[str]:
    """Parameters that want a gradient and are in no optimizer: none that another optimizer of the part holds."""
    held = {str(tensor["name"]) for other in history.tracks for tensor in tensors(other)}
    found = track.series.info.get("untrained") or ()
    return [str(name) for name in found if str(name) not in held] if isinstance(found, list | tuple) else []


def _share(track: Track, names: set[str]) -> float:
    """Of the optimizer's entries, those of these tensors."""
    sizes: Mapping[str, Any] = {str(tensor["name"]): math.prod(tensor["shape"]) for tensor in tensors(track)}
    total = sum(sizes.values())
    return sum(sizes[name] for name in names) / total if total else 0.0


def _says(idle: list[str], untrained: list[str], frozen: list[str], everything: int) -> str:
    parts = []
    if idle:
        what = t("{count} of {all} parameter tensors get no gradient at all", count=len(idle), all=everything)
        parts.append(f"{what}: {listed(idle)}")
    if untrained:
        what = t("{count} of {all} parameter tensors are in no optimizer", count=len(untrained), all=everything)
        parts.append(f"{what}: {listed(untrained)}")
    if frozen:
        what = t("{count} of {all} parameter tensors are frozen", count=len(frozen), all=everything)
        parts.append(f"{what}: {listed(frozen)}")
    return "; ".join(parts)


TROUBLE = Trouble(
    name="idle-parameter",
    summary="A parameter that no step moves: without a gradient, or in no optimizer.",
    measures=f"At up to {LIMIT} steps over the run, the parameter tensors of the optimizer that had no gradient, or "
    "one that is exactly 0, at each; on every process, where there are several. The parameters of the model that "
    "want a gradient and are in no optimizer. Whether every gradient of the run was exactly 0.",
    hurts="What is meant to learn stays at its random start. Where that is everything, the loss cannot move.",
    is_not=(
        "The rows of an embedding whose entries did not occur in the data.",
        "A body that was frozen on purpose, a head that this task does not use, a copy that is averaged: a note, "
        "since trimtab cannot tell the purpose.",
        "A layer that gets its first gradient later, as behind a branch that begins at zero.",
        "A tensor that gets its gradient on another process.",
    ),
    threshold=f"Exactly no gradient at all of the steps looked at ({FEW} at least). Fatal where every gradient of a "
    f"run of {CERTAIN} steps or more was 0; a warning where the loss stands still at chance and tensors that hold "
    f"{MUCH:.0%} of all entries are idle; else a note.",
    causes=CAUSES,
    remedies="Pass model.parameters() to the optimizer after the model is complete; look for detach(), item(), numpy() "
    "and no_grad() between parameters and loss.",
    rule=idle_parameter,
    leads_to=frozenset({"constant-output", "stalled-loss", "slow-loss"}),
)
