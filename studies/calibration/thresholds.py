"""The threshold that the calibration half would choose for each trouble's main statistic, beside the one in use.

A statistic here stands alone, without the other conditions of its rule, so that its false alarms are an upper bound of
the rule's. The threshold is the one with the highest recall among those with at most MAX_ALARMS false alarms on healthy
runs. The same, chosen without one family and counted on that family's held-out runs, says whether it carries over.
It prints; it edits no rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from trimtab.findings import History, Track, parts, progress
from trimtab.findings._evidence import travel_of
from trimtab.findings._signal import signal

from .outcomes import HEALTHY, SICK, Label
from .packing import Trained
from .statistics import Share

MAX_ALARMS = 0.005
LAST_SAMPLES = 3

Values = Mapping[str, float]


@dataclass(frozen=True)
class Statistic:
    """`value` of a run, NaN where it cannot be told; an alarm is a value above the threshold, or below it.

    `constant`: the threshold in use, as module.NAME of trimtab.findings. `troubles`: sick runs that it should see.
    """

    name: str
    unit: str
    troubles: tuple[str, ...]
    value: Callable[[Trained], float]
    above: bool
    constant: str

    @property
    def in_use(self) -> float:
        module, _, name = self.constant.partition(".")
        try:
            return float(getattr(import_module(f"trimtab.findings.{module}"), name))
        except (ImportError, AttributeError):
            return math.nan

    def alarms(self, value: float, threshold: float) -> bool:
        return value > threshold if self.above else value < threshold


@dataclass(frozen=True)
class Choice:
    """What a threshold gives on the runs that it is counted on."""

    threshold: float
    recall: Share
    alarms: Share


@dataclass(frozen=True)
class Chosen:
    statistic: Statistic
    calibration: Choice
    held_out: Choice
    in_use: Choice
    """On the held-out half."""
    families: Choice
    """Each family held out in turn, all counted together; the threshold is the median of those chosen."""


def choose_all(runs: Sequence[Trained], labels: Mapping[str, Label]) -> list[Chosen]:
    return [_chosen(statistic, runs, labels) for statistic in STATISTICS]


def best_threshold(sick: Sequence[float], healthy: Sequence[float], above: bool) -> float:
    """The threshold with the highest recall among those with at most MAX_ALARMS of `healthy` beyond it.

    It lies half-way between the last healthy value that must be spared and the next sick one beyond; beyond all values
    (an infinity) if no sick one lies there.
    """
    sign = 1.0 if above else -1.0
    good = np.sort(sign * np.array([v for v in healthy if not math.isnan(v)]))
    spared = len(good) - math.floor(MAX_ALARMS * len(healthy))
    edge = float(good[spared - 1]) if len(good) and spared > 0 else -math.inf
    beyond = [sign * v for v in sick if sign * v > edge]
    if not beyond:
        return sign * math.inf
    nearest = min(beyond)
    return sign * (edge if math.isinf(nearest) or math.isinf(edge) else (edge + nearest) / 2)


def _chosen(statistic: Statistic, runs: Sequence[Trained], labels: Mapping[str, Label]) -> Chosen:
    with np.errstate(all="ignore"):
        values = {run.name: statistic.value(run) for run in runs}
    calibration = [run for run in runs if not run.recipe.held_out]
    held_out = [run for run in runs if run.recipe.held_out]
    threshold = _fit(statistic, calibration, labels, values)
    return Chosen(
        statistic,
        _count(statistic, threshold, calibration, labels, values),
        _count(statistic, threshold, held_out, labels, values),
        _count(statistic, statistic.in_use, held_out, labels, values),
        _by_family(statistic, runs, labels, values),
    )


def _by_family(s: Statistic, runs: Sequence[Trained], labels: Mapping[str, Label], values: Values) -> Choice:
    choices = []
    for family in dict.fromkeys(run.recipe.family for run in runs):
        others = [run for run in runs if run.recipe.family != family and not run.recipe.held_out]
        own = [run for run in runs if run.recipe.family == family and run.recipe.held_out]
        choices.append(_count(s, _fit(s, others, labels, values), own, labels, values))
    return Choice(
        float(np.median([c.threshold for c in choices])) if choices else math.nan,
        _total(c.recall for c in choices),
        _total(c.alarms for c in choices),
    )


def _total(shares: Iterable[Share]) -> Share:
    every = list(shares)
    return Share(sum(s.hits for s in every), sum(s.of for s in every))


def _split(
    s: Statistic, runs: Iterable[Trained], labels: Mapping[str, Label], values: Values
) -> tuple[list[float], list[float]]:
    """Values of the sick runs that the statistic should see, and of the healthy ones."""
    sick, healthy = [], []
    for run in runs:
        label = labels[run.name]
        if label.group == SICK and label.trouble in s.troubles:
            sick.append(values[run.name])
        elif label.group == HEALTHY:
            healthy.append(values[run.name])
    return sick, healthy


def _fit(s: Statistic, runs: Iterable[Trained], labels: Mapping[str, Label], values: Values) -> float:
    return best_threshold(*_split(s, runs, labels, values), s.above)


def _count(
    s: Statistic, threshold: float, runs: Iterable[Trained], labels: Mapping[str, Label], values: Values
) -> Choice:
    sick, healthy = _split(s, runs, labels, values)
    hits, false = (sum(s.alarms(v, threshold) for v in some) for some in (sick, healthy))
    return Choice(threshold, Share(hits, len(sick)), Share(false, len(healthy)))


# --- the statistics -----------------------------------------------------------------------------


def _track(run: Trained) -> Track | None:
    groups = parts(run.record)
    return groups[0][0] if groups else None


def _grows(run: Trained) -> float:
    """The larger of the growths of signal and gradient over depth at the first step, in decades."""
    changes = _changes(run)
    return max(changes) if changes else math.nan


def _shrinks(run: Trained) -> float:
    changes = _changes(run)
    return -min(changes) if changes else math.nan


def _changes(run: Trained) -> list[float]:
    track = _track(run)
    found = signal(track) if track is not None else None
    ways = (found.forward, found.backward) if found is not None else ()
    return [way.log10_ratio for way in ways if way is not None]


def _end_over_reference(run: Trained) -> float:
    """The loss at the end over the larger of its start and chance."""
    track = _track(run)
    if track is None or not len(track.loss):
        return math.nan
    end = float(np.median(track.loss[-max(5, len(track.loss) // 10) :]))
    reference = float(np.nanmax([track.loss[0], track.chance]))
    return end / reference if math.isfinite(end) and reference > 0 else math.inf


def _gain(run: Trained) -> float:
    """The share of chance, or of the start where that is not known, by which the end is better."""
    groups = parts(run.record)
    return progress(History(run.record, groups[0])).gain if groups else math.nan


def _left(run: Trained) -> float:
    return 1.0 - _gain(run)


def _travelled(run: Trained) -> float:
    """Of the matrix that moves most: the median |update| / |weight| times the steps."""
    track = _track(run)
    return travel_of(track) if track is not None else math.nan


def _jump(run: Trained) -> float:
    """The largest robust z of the log loss against the fifty before, in the second half of the run."""
    track = _track(run)
    if track is None or len(track.finite_loss) < 40 or track.finite_loss.min() <= 0:
        return math.nan
    logs, largest = np.log(track.finite_loss), -math.inf
    for i in range(max(20, len(logs) // 2), len(logs)):
        before = logs[max(0, i - 50) : i]
        spread = 1.4826 * float(np.median(np.abs(before - np.median(before))))
        largest = max(largest, float(logs[i] - np.median(before)) / max(spread, 1e-6))
    return largest


def _swing(run: Trained) -> float:
    """Standard deviation of the log loss over the last third of the run."""
    track = _track(run)
    if track is None or len(track.finite_loss) < 40 or track.finite_loss.min() <= 0:
        return math.nan
    return float(np.std(np.log(track.finite_loss[-(len(track.finite_loss) // 3) :])))


def _modules(run: Trained) -> Iterator[dict[str, Any]]:
    """Rows of modules of the last samples."""
    track = _track(run)
    if track is not None:
        for step in track.series.sampled_steps[-LAST_SAMPLES:]:
            yield dict(track.series.modules(int(step)))


def _worst_share(run: Trained, *columns: str) -> float:
    """The largest value in any module, the least over the last samples of that: what lasts."""
    worst = [
        float(np.nanmax([np.nanmax(np.append(rows[column].astype(np.float64), -1.0)) for column in columns]))
        for rows in _modules(run)
    ]
    return min(worst) if worst and min(worst) >= 0 else math.nan


def _dead(run: Trained) -> float:
    return _worst_share(run, "out_dead", "in_dead")


def _saturated(run: Trained) -> float:
    return _worst_share(run, "out_saturated", "in_saturated")


def _spread(run: Trained) -> float:
    """The spread of the outputs over rows: of values as a share of the targets', of logits in nats."""
    track = _track(run)
    if track is None:
        return math.nan
    losses = track.series.losses
    spread = np.asarray(losses["output_spread"], np.float64)[-LAST_SAMPLES:]
    scale = np.asarray(losses["target_std"], np.float64)[-LAST_SAMPLES:]
    ratio = spread / np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)
    ratio = ratio[np.isfinite(ratio)]
    return float(ratio.max()) if len(ratio) else math.nan


def _lost_again(run: Trained) -> float:
    """Of what the validation loss had gained, the share that it has lost again at the end."""
    metrics = run.record.metrics()
    values = metrics["value"][metrics["name"] == "val_loss"]
    if len(values) < 4 or not np.isfinite(values).all():
        return math.nan
    gained = float(values[0] - values.min())
    return float(values[-1] - values.min()) / gained if gained > 0 else math.inf


STATISTICS = (
    Statistic("growth of the signal over depth", "decades", ("exploding-gradient",), _grows, True, "_signal.LIMIT"),
    Statistic("fall of the signal over depth", "decades", ("vanishing-gradient",), _shrinks, True, "_signal.LIMIT"),
    Statistic(
        "loss at the end over its reference", "ratio", ("diverging-loss", "non-finite"), _end_over_reference, True,
        "_diverging_loss.RISE",
    ),
    Statistic("gain on chance at the end", "share", ("stalled-loss",), _gain, False, "_progress.NO_GAIN"),
    Statistic("loss left at the end", "share of chance", ("slow-loss",), _left, True, "_slow_loss.FAR"),
    Statistic("travel of the weights", "of their size", ("slow-loss",), _travelled, False, "_evidence.LITTLE_TRAVEL"),
    Statistic("jump of the log loss", "robust z", ("loss-spike",), _jump, True, "_jumps.Z"),
    Statistic("swing of the log loss", "nats", ("oscillating-loss",), _swing, True, "_oscillating_loss.SIZE"),
    Statistic("dead units of a layer", "share", ("dead-units",), _dead, True, "_dead_units.SHARE"),
    Statistic("saturated entries of a layer", "share", ("saturated-units",), _saturated, True,
        "_saturated_units.SHARE",
    ),
    Statistic("spread of the outputs", "targets' or nats", ("constant-output",), _spread, False,
        "_constant_output.SMALL",
    ),
    Statistic("validation loss lost again", "share", ("overfitting",), _lost_again, True, "_overfitting.SMALL"),
)  # fmt: skip


def as_lines(chosen: Sequence[Chosen]) -> list[str]:
    lines = []
    for one in chosen:
        s, sign = one.statistic, ">" if one.statistic.above else "<"
        lines += [
            f"{', '.join(s.troubles)}: {s.name} ({s.unit})",
            f"  calibration half chooses {sign} {one.calibration.threshold:.4g}: recall {one.calibration.recall}, "
            f"false alarms {one.calibration.alarms}",
            f"  the same, held-out half:  recall {one.held_out.recall}, false alarms {one.held_out.alarms}",
            f"  families in turn (median {one.families.threshold:.4g}): recall {one.families.recall}, "
            f"false alarms {one.families.alarms}",
            f"  in use ({s.constant}) {sign} {one.in_use.threshold:.4g}, held-out half: recall {one.in_use.recall}, "
            f"false alarms {one.in_use.alarms}",
        ]
    return lines
