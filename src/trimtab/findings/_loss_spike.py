"""loss-spike: the loss, or the gradient norm, jumps, and the training gets over it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .._language import t
from ._diverging_loss import reference_of
from ._finding import Finding
from ._history import Floats, History, Track
from ._jumps import WINDOW, Jump, Z, jumps, robust_z
from ._lost import left
from ._reported import reported
from ._text import number, plural
from ._trouble import Trouble
from .causes import Case

HEIGHT = 0.1  # natural logarithm: a rise of a tenth
SEEN = 0.05  # share of the loss's reference that the rise must be
HIGH = 2.0  # times the level before, which counts whatever the gradient did
RESTART = 1.5  # times the learning rate before: what the loss does then is the schedule's doing
NEAR = 5  # rows about the jump in which the gradient is looked at
OFTEN = 0.02  # of the steps begin a jump: that is how this loss is
DETACHED = 3.0  # times the largest other gradient norm of the run
GRADIENT = 10.0  # times the norm before, where the loss did not move
CAUSES = (
    "bad-batch",
    "stale-second-moment",
    "learning-rate-too-high",
    "unclipped-recurrence",
    "missing-warm-up",
    "batch-too-small",
    "precision-overflow",
)


def loss_spike(history: History) -> Iterator[Finding]:
    track = history.lead
    if history.live or history.adversarial or track is None or not len(track.finite_loss):
        return
    gone = left(history, track)
    end = len(track) if gone is None else gone[0]
    spikes = _spikes(track, end)
    if spikes:
        yield _of_loss(history, track, spikes)
        return
    rows = _gradient_jumps(track, end)
    if len(rows):
        yield _of_gradient(history, track, rows)


def _spikes(track: Track, end: int) -> list[Jump]:
    """Jumps of the loss before the row `end` that matter and that neither schedule nor order of the data made."""
    rows, values = track.finite_rows, track.finite_loss
    if values.min() <= 0:
        return []  # a loss that may be negative has no scale on which a rise is a multiple
    reference = reference_of(track, values)
    found = [
        jump
        for jump in jumps(np.log(values))
        if rows[jump.last] < end
        and jump.peak - jump.before > HEIGHT
        and np.exp(jump.peak) - np.exp(jump.before) > SEEN * reference
        and not _restarts(track, int(rows[jump.first]))
    ]
    regular = len(found) > 2 and float(np.std(np.diff([jump.first for jump in found]))) < 2.0
    return [] if regular or len(found) > OFTEN * len(values) + 1 else found


def _restarts(track: Track, row: int) -> bool:
    """The learning rate rose shortly before."""
    rates = np.asarray(track.columns["lr_max"], dtype=np.float64)
    before, now = rates[max(0, row - WINDOW) : row], rates[max(0, row - NEAR) : row + 1]
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    return len(before) > 0 and len(now) > 0 and float(now.max()) > RESTART * float(before.min())


def _log_norms(track: Track) -> Floats:
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)
    return np.log(np.where(norms > 0, norms, np.nan))


def _gradient_jumps(track: Track, end: int) -> list[int]:
    """Rows at which the gradient norm left its past tenfold while the loss did not; none where that is common."""
    logs = _log_norms(track)[:end]
    if not np.isfinite(logs).any():
        return []
    high = np.flatnonzero(np.nan_to_num(logs, nan=-np.inf) > np.nanmedian(logs) + np.log(GRADIENT)).tolist()
    if len(high) > OFTEN * len(logs) + 1:
        return []
    rows = [row for row in high if robust_z(logs, row) > Z and _tenfold(logs, row) and not _restarts(track, row)]
    return rows if rows and _apart(logs, rows) else []


def _apart(logs: Floats, rows: list[int]) -> bool:
    """The highest of these lies far above everything else in the run: it is no tail of the gradient's own noise."""
    rest = logs.copy()
    for row in rows:
        rest[max(0, row - NEAR) : row + NEAR] = np.nan
    return bool(np.isfinite(rest).any()) and float(np.max(logs[rows]) - np.nanmax(rest)) > math.log(DETACHED)


def _tenfold(logs: Floats, row: int) -> bool:
    return float(logs[row] - np.nanmedian(logs[max(0, row - WINDOW) : row])) > math.log(GRADIENT)


def _of_loss(history: History, track: Track, spikes: list[Jump]) -> Finding:
    rows = track.finite_rows
    worst = max(spikes, key=lambda jump: jump.peak - jump.before)
    row = int(rows[worst.first])
    logs = _log_norms(track)
    z = max((robust_z(logs, i) for i in range(max(0, row - NEAR), min(row + NEAR, len(track)))), default=0.0)
    certain = z > Z or worst.peak - worst.before > np.log(HIGH)
    first, last = int(track.step[rows[spikes[0].first]]), int(track.step[rows[spikes[-1].last]])
    says = t(
        "the loss jumped from {before} to {peak} at step {step} and was back after {steps}",
        before=number(float(np.exp(worst.before))),
        peak=number(float(np.exp(worst.peak))),
        step=int(track.step[row]),
        steps=plural(worst.steps, "step"),
    )
    if len(spikes) > 1:
        says = t("{first}; the largest of {count} such jumps", first=says, count=len(spikes))
    return reported(
        Case("loss-spike", history, track, first, last),
        "warning" if certain else "note",
        says,
        [history.place(track)] if history.several else [],
        {
            "loss_before": float(np.exp(worst.before)),
            "peak": float(np.exp(worst.peak)),
            "steps_to_recover": worst.steps,
            "spikes": len(spikes),
            "robust_z_of_loss": worst.z,
            "robust_z_of_grad_norm": z,
            "threshold": Z,
        },
        CAUSES,
    )


def _of_gradient(history: History, track: Track, rows: list[int]) -> Finding:
    logs = _log_norms(track)
    worst = max(rows, key=lambda row: logs[row])
    before = float(np.exp(np.nanmedian(logs[max(0, worst - WINDOW) : worst])))
    step = int(track.step[worst])
    return reported(
        Case("loss-spike", history, track, int(track.step[rows[0]]), int(track.step[rows[-1]])),
        "note",
        t(
            "the gradient norm jumped from {before} to {peak} at step {step}; the loss did not follow",
            before=number(before),
            peak=number(float(np.exp(logs[worst]))),
            step=step,
        ),
        [history.place(track)] if history.several else [],
        {
            "grad_norm": float(np.exp(logs[worst])),
            "grad_norm_median_before": before,
            "spikes": len(rows),
            "robust_z_of_grad_norm": robust_z(logs, worst),
            "threshold": Z,
        },
        CAUSES,
    )


TROUBLE = Trouble(
    name="loss-spike",
    summary="The loss, or the gradient norm, jumps, and the training gets over it.",
    measures=f"The logarithm of the loss against the {WINDOW} steps before, their median and spread (MAD): three "
    "losses in a row must be higher than every one of the twenty before, and come back; or a single one must be ten "
    "times as high as any near it. The gradient norm before any clip, in the steps about it, in the same way. Both "
    "are free of scale, so that a loss that falls steeply has no spikes for that.",
    hurts="The steps until the loss is back are lost, and what caused the spike may come again, and worse.",
    is_not=(
        "One loss that is less than ten times its neighbours: a hard batch.",
        "The noise of small batches, however heavy its tails: three losses in a row must exceed all of the recent "
        "past.",
        "The first steps, which have no past to be compared with.",
        "What follows a rise of the learning rate, as at a restart of its schedule.",
        f"Jumps that come at regular intervals (the order of the data), or in more than {OFTEN:.0%} of the steps.",
        "A jump that the training does not get over: that is diverging-loss or non-finite.",
        "A loss that may be negative, which has no scale of its own; the losses of a GAN.",
    ),
    threshold=f"A robust z of {Z:g} (measured: healthy at most 3.9 in 1,500 steps, a batch scaled by 30 at 12.5), and "
    f"a rise of a tenth of the loss and of {SEEN:.0%} of the larger of start and chance. A warning where the gradient "
    "norm jumped too or the loss at least doubled, else a note. A gradient norm that jumps while the loss does not is "
    f"a note, if it grew {GRADIENT:g}-fold, to {DETACHED:g} times any other of the run.",
    causes=CAUSES,
    remedies="Look at the batch of that step; clip=global:1.0 bounds what one batch can do; lr*0.1 if jumps go on.",
    rule=loss_spike,
    sources=("Chowdhery et al. 2022, arXiv:2204.02311, sec. 5.1 (spikes need both the data and the state)",),
    leads_to=frozenset({"diverging-loss", "non-finite", "dead-units", "constant-output"}),
)
