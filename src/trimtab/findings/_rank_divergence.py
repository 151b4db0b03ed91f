"""rank-divergence: processes that should train one model have come to hold different ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .._language import t
from ._crash import status_of
from ._finding import Finding
from ._history import History, Track
from ._reported import reported
from ._samples import sampled_steps
from ._text import number
from ._trouble import Trouble
from .causes import Case

WEIGHTS = 1e-4  # relative; equal updates of equal weights are equal to the last digit
RATES = 1e-6
STEPS = 0.01  # of the longest rank
CAUSES = ("unsynchronised-ranks", "bad-batch", "precision-overflow", "invalid-operation")


@dataclass(frozen=True)
class Apart:
    """The first common step at which a tensor's norm differs between ranks, and where it differs most at the last."""

    step: int
    from_start: bool
    again_equal: bool
    tensor: str
    ranks: tuple[Track, Track]
    norms: tuple[float, float]

    @property
    def difference(self) -> float:
        return abs(self.norms[0] - self.norms[1]) / max(self.norms)


def rank_divergence(history: History) -> Iterator[Finding]:
    if not history.distributed or _sharded(history):
        return
    by_optimizer: dict[int, list[Track]] = {}
    for track in history.tracks:
        by_optimizer.setdefault(track.optimizer, []).append(track)
    for ranks in by_optimizer.values():
        if len(ranks) < 2:
            continue
        found = weights_apart(ranks, live=history.live)
        if found is not None:
            yield _of_weights(history, found)
        elif (rates := _rates_apart(ranks)) is not None:
            yield _of_rates(history, *rates)
        elif not history.live and _steps_apart(history, ranks):
            yield _of_steps(history, ranks)


def _sharded(history: History) -> bool:
    return any("sharded" in str(event.data.get("what", "")) for event in history.events_of("unseen"))


def weights_apart(ranks: Sequence[Track], *, live: bool = False) -> Apart | None:
    """Compare the norms of equally named tensors at the sampled steps that all ranks have in common."""
    common = set.intersection(*(set(map(int, track.series.sampled_steps)) for track in ranks))
    steps = [step for step in sampled_steps(ranks[0], live=live) if step in common]
    differing: list[tuple[int, Apart]] = []
    compared: list[int] = []
    for step in steps:
        norms = [_norms(track, step) for track in ranks]
        names = set.intersection(*(set(found) for found in norms))
        if not names:
            continue
        compared.append(step)
        if (worst := _worst(ranks, norms, names, step)) is not None:
            differing.append((step, worst))
    if not differing:
        return None
    first, last = differing[0], differing[-1]
    return Apart(
        first[0],
        first[0] == compared[0],
        last[0] != compared[-1],
        last[1].tensor,
        last[1].ranks,
        last[1].norms,
    )


def _norms(track: Track, step: int) -> dict[str, float]:
    rows = track.series.tensors(step)
    if "weight_norm" not in rows or not len(rows["weight_norm"]):
        return {}
    norms = np.asarray(rows["weight_norm"], dtype=np.float64)
    known = np.isfinite(norms)
    return dict(zip(map(str, rows["tensor"][known]), norms[known].tolist(), strict=True))


def _worst(ranks: Sequence[Track], norms: Sequence[dict[str, float]], names: set[str], step: int) -> Apart | None:
    table = np.array([[found[name] for name in sorted(names)] for found in norms])
    high, low = table.max(axis=0), table.min(axis=0)
    differences = (high - low) / np.where(high > 0, high, 1.0)
    i = int(np.argmax(differences))
    if differences[i] <= WEIGHTS:
        return None
    pair = (int(table[:, i].argmin()), int(table[:, i].argmax()))
    return Apart(
        step, False, False, sorted(names)[i], (ranks[pair[0]], ranks[pair[1]]), (float(low[i]), float(high[i]))
    )


def _of_weights(history: History, found: Apart) -> Finding:
    low, high = found.ranks
    difference = t(
        "{tensor} has a norm of {low} on rank {first} and of {high} on rank {second}",
        tensor=found.tensor,
        low=f"{found.norms[0]:.6g}",
        high=f"{found.norms[1]:.6g}",
        first=low.process,
        second=high.process,
    )
    if found.from_start:
        says = t("the ranks hold different weights from the first step on: {difference}", difference=difference)
    elif found.again_equal:
        says = t("the ranks held different weights from step {step} on, and equal ones later", step=found.step)
    else:
        says = t(
            "the ranks hold different weights since step {step}: {difference}", step=found.step, difference=difference
        )
    return reported(
        Case("rank-divergence", history, low, found.step, max(low.last_step, high.last_step)),
        "note" if found.from_start or found.again_equal else "serious",
        says,
        [history.place(track, tensor=found.tensor) for track in found.ranks],
        {"relative_difference": found.difference, "norms": list(found.norms), "threshold": WEIGHTS},
        CAUSES,
    )


def _rates_apart(ranks: Sequence[Track]) -> tuple[int, Track, Track] | None:
    """The first step at which two ranks had different learning rates."""
    first = ranks[0]
    for other in ranks[1:]:
        steps, here, there = np.intersect1d(first.step, other.step, return_indices=True)
        mine, theirs = (np.asarray(track.columns["lr"], dtype=np.float64) for track in (first, other))
        a, b = mine[here], theirs[there]
        apart = np.flatnonzero(np.abs(a - b) > RATES * np.maximum(np.abs(a), np.abs(b)))
        if len(apart):
            return int(steps[apart[0]]), first, other
    return None


def _of_rates(history: History, step: int, first: Track, other: Track) -> Finding:
    rates = [
        float(np.asarray(track.columns["lr"])[int(np.flatnonzero(track.step == step)[0])]) for track in (first, other)
    ]
    return reported(
        Case("rank-divergence", history, first, step, first.last_step),
        "warning",
        t(
            "at step {step} the learning rate is {low} on rank {first} and {high} on rank {second}",
            step=step,
            low=number(rates[0]),
            high=number(rates[1]),
            first=first.process,
            second=other.process,
        ),
        [history.place(track) for track in (first, other)],
        {"learning_rates": rates, "threshold": RATES},
        CAUSES,
    )


def _steps_apart(history: History, ranks: Sequence[Track]) -> bool:
    """Only where the script ended by itself: what was killed was killed in the middle."""
    counts = [track.last_step + 1 for track in ranks]
    return status_of(history.record.meta) == 0 and max(counts) - min(counts) > max(1.0, STEPS * max(counts))


def _of_steps(history: History, ranks: Sequence[Track]) -> Finding:
    least, most = (pick(ranks, key=lambda track: track.last_step) for pick in (min, max))
    return reported(
        Case("rank-divergence", history, least, least.last_step, most.last_step),
        "warning",
        t(
            "rank {first} took {few} steps and rank {second} {many}",
            first=least.process,
            few=least.last_step + 1,
            second=most.process,
            many=most.last_step + 1,
        ),
        [history.place(track) for track in (least, most)],
        {"steps": [least.last_step + 1, most.last_step + 1], "threshold": STEPS},
        CAUSES,
    )


TROUBLE = Trouble(
    name="rank-divergence",
    summary="Processes that should train one model have come to hold different ones.",
    measures="At the sampled steps that all ranks have in common, the norm of each weight tensor, by name, between the "
    "ranks. The learning rates of equal steps, and the number of steps.",
    hurts="Each rank trains a model of its own on its own share of the data; what is saved is one of them, and "
    "gradients averaged over different weights are gradients of none.",
    is_not=(
        "Rounding: equal updates of equal weights are equal to the last digit.",
        "Sharded parameters, of which each process holds a part: they are not compared.",
        "Weights that differ from the first step on, which may be shards that trimtab does not know as such, or "
        "trainings that were meant to be apart: a note.",
        "Weights that are equal again later, as where ranks are averaged now and then: a note.",
        "A run that was killed, whose ranks end where they were.",
    ),
    threshold=f"A relative difference of {WEIGHTS:g} in the norm of a tensor (serious), of {RATES:g} in a learning "
    f"rate or of {STEPS:.0%} in the number of steps (a warning).",
    causes=CAUSES,
    remedies="Wrap the model in DistributedDataParallel before the optimizer is made; the same seed, schedule and "
    "number of batches on every rank; clip and skip by the norm over all ranks.",
    rule=rank_divergence,
    leads_to=frozenset({"diverging-loss", "stalled-loss", "crash"}),
)
