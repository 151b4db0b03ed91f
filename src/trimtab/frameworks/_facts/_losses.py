"""What a loss function was given: classes, chance level, ranges of outputs and targets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Array, Facts, as_floats, norm, quietly, thin

MAX_ENTRIES = 1 << 20
# Of so many targets are the different ones counted, which takes a sort.
MAX_COUNTED = 65_536
MAX_CLASSES = 200_000
CLASS_LOSSES = ("cross_entropy", "nll")
IGNORED = -100


@dataclass
class Targets:
    """All targets seen so far of one kind of loss, as far as the best constant prediction needs them."""

    counts: Array | None = None
    n: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def add_labels(self, labels: Array, classes: int) -> None:
        self.add_counts(np.bincount(labels, minlength=classes))

    def add_counts(self, counts: Array) -> None:
        """Of each class how many targets, or how much of them; shape (classes,)."""
        before = self.counts
        self.counts = counts.astype(np.float64)
        if before is not None and len(before) == len(counts):
            self.counts += before

    def add_values(self, values: Array) -> None:
        """Pooled mean and sum of squared deviations (Chan, Golub and LeVeque 1983, equation 2.1)."""
        n, mean = values.size, float(values.mean(dtype=np.float64))
        squares = float(values.var(dtype=np.float64)) * n
        delta, total = mean - self.mean, self.n + n
        self.squares += squares + delta * delta * self.n * n / total
        self.mean += delta * n / total
        self.n = total

    def entropy(self) -> float:
        """Of the distribution over classes, in nats; a class not yet seen counts as seen half a time, since the
        entropy of few labels is too low (Krichevsky and Trofimov 1981). NaN where there are no counts."""
        if self.counts is None:
            return math.nan
        shares = (self.counts + 0.5) / (self.counts + 0.5).sum()
        return float(-(shares * np.log(shares)).sum())

    @property
    def labels_seen(self) -> int | None:
        return None if self.counts is None else int(np.count_nonzero(self.counts))

    @property
    def variance(self) -> float:
        return self.squares / self.n if self.n else math.nan


@quietly
def loss_facts(
    kind: str,
    outputs: Any,
    targets: Any,
    seen: dict[str, Targets],
    *,
    axis: int = -1,
    labels: bool | None = None,
    ignored: int = IGNORED,
) -> Facts:
    """Columns of `losses` but `value` and `output_after`, from what the loss function was given in one batch.

    `kind` is our name of the loss; `seen` gathers the targets of a run (an empty dict to begin with); the classes, or
    the features, of `outputs` are on `axis`. `labels`: targets of a classification are class indices of whatever
    dtype (they are where they are whole numbers, unless said); those equal to `ignored` do not count.
    """
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    if labels is None:
        labels = targets.dtype.kind in "iu"
    facts: Facts = {"kind": kind, "rows": _row_count(kind, outputs, axis)}
    if kind in CLASS_LOSSES and labels:
        facts |= _labels(kind, outputs, targets, seen, axis, ignored)
    elif targets.size and targets.dtype.kind != "c":
        facts |= _values(kind, outputs, targets, seen, axis)
    facts |= _outputs(kind, outputs, axis)
    return {
        name: fact for name, fact in facts.items() if fact is not None and not (name == "chance" and math.isnan(fact))
    }


def labels_beyond(labels: Any, classes: int) -> float:
    """Share of the class indices that are of no class; those equal to `IGNORED` are left out of the count."""
    labels = np.asarray(labels)
    return float(np.mean(((labels < 0) & (labels != IGNORED)) | (labels >= classes)))


def _labels(kind: str, outputs: Array, labels: Array, seen: dict[str, Targets], axis: int, ignored: int) -> Facts:
    classes = outputs.shape[_place(outputs, axis)] if outputs.ndim else 1
    targets = seen.setdefault(f"{kind}/{classes}", Targets())
    whole = labels.astype(np.int64)
    flat = whole.reshape(-1)
    valid = flat[(flat >= 0) & (flat < classes)]
    if valid.size and classes <= MAX_CLASSES:
        targets.add_labels(valid, classes)
    counted = flat[flat != ignored]
    return {
        "classes": classes,
        "chance": targets.entropy(),
        "labels_seen": targets.labels_seen,
        "accuracy": _label_accuracy(outputs, whole, axis),
        "target_min": float(counted.min()) if counted.size else None,
        "target_max": float(counted.max()) if counted.size else None,
    }


def _label_accuracy(outputs: Array, labels: Array, axis: int) -> float | None:
    """Share of the rows with a valid label whose largest output is at it."""
    if outputs.ndim < 2:
        outputs, labels = outputs.reshape(1, -1), labels.reshape(-1)
    axis = _place(outputs, axis)
    if labels.ndim == outputs.ndim and labels.shape[axis] == 1:
        labels = labels.squeeze(axis)
    classes = outputs.shape[axis]
    if labels.shape != outputs.shape[:axis] + outputs.shape[axis + 1 :] or not classes:
        return None
    valid = (labels >= 0) & (labels < classes)
    count = int(valid.sum())
    return int(((outputs.argmax(axis) == labels) & valid).sum()) / count if count else None


def _values(kind: str, outputs: Array, targets: Array, seen: dict[str, Targets], axis: int) -> Facts:
    """Of targets that are no class indices."""
    rows = _as_rows(targets, axis)
    values = rows.reshape(-1).astype(np.float64)
    known = seen.setdefault(kind, Targets())
    known.add_values(values)
    one_class = kind == "cross_entropy" and outputs.ndim > 1 and outputs.shape == targets.shape  # if not several
    if kind in CLASS_LOSSES and (rows.shape[1] > 1 or one_class):
        known.add_counts(rows.sum(0, dtype=np.float64))
    facts: Facts = {
        "shapes_differ": _broadcast_against_each_other(outputs.shape, targets.shape),
        "target_min": float(values.min()),
        "target_max": float(values.max()),
        "target_mean": float(values.mean()),
        "target_std": float(values.std()),
        **_chance(kind, values, known),
        "target_values": len(np.unique(_spread_out(rows.reshape(-1), MAX_COUNTED), equal_nan=False)),
        "targets_whole": bool(((values == np.round(values)) & np.isfinite(values)).all()),
    }
    if rows.shape[1] > 1:
        facts["targets_one_hot"] = float((((rows == 1).sum(1) == 1) & ((rows == 0).sum(1) == rows.shape[1] - 1)).mean())
    given = as_floats(outputs)
    if given is not None and given.shape == targets.shape:
        few = _as_rows(given, axis)
        facts |= {"accuracy": _agreement(kind, few, rows), "correlation": _correlation(few, rows)}
    return facts


def _chance(kind: str, values: Array, known: Targets) -> Facts:
    """`chance`, and `classes` of a classification. The best constant answer to rows of shares is their mean, whose
    cross-entropy with them is its own entropy."""
    if kind in ("bce", "bce_logits"):
        return {"classes": 2, "chance": _binary_entropy(known.mean)}
    if kind in CLASS_LOSSES and known.counts is not None:
        return {"classes": len(known.counts), "chance": known.entropy()}
    if kind == "mse":
        return {"chance": known.variance}
    if kind == "l1":
        return {"chance": float(np.abs(values - np.median(values)).mean())}
    return {}


def _outputs(kind: str, outputs: Array, axis: int) -> Facts:
    floats = as_floats(outputs)
    if floats is None or not floats.size:
        return {}
    rows = _as_rows(floats, axis)
    facts = {
        "output_min": float(rows.min()),
        "output_max": float(rows.max()),
        "output_mean": float(rows.mean(dtype=np.float64)),
        "output_std": float(rows.std(dtype=np.float64)),
        "output_zeros": 1 - int(np.count_nonzero(rows)) / rows.size,
    }
    if len(rows) > 1:
        facts["output_spread"] = math.sqrt(rows.var(0, dtype=np.float64).mean())
    if kind in CLASS_LOSSES and rows.shape[1] > 1:
        probabilities = (rows >= 0).all(1) & (np.abs(rows.sum(1) - 1) < 1e-3)
        facts["rows_sum_to_one"] = float(probabilities.mean())
    return facts


def _row_count(kind: str, outputs: Array, axis: int) -> int:
    if kind in CLASS_LOSSES and outputs.ndim > 1:
        return int(outputs.size // max(1, outputs.shape[_place(outputs, axis)]))
    return len(outputs) if kind == "kl_div" and outputs.ndim else int(outputs.size)


def _as_rows(x: Array, axis: int) -> Array:
    """Shape (rows, features): evenly spaced rows, so many that they hold at most about MAX_ENTRIES entries."""
    if x.ndim < 2:
        return x.reshape(-1, 1)[thin((x.size, 1), 1, MAX_ENTRIES)]
    axis = _place(x, axis)
    few = x[thin(x.shape, axis, MAX_ENTRIES)]
    return np.moveaxis(few, axis, -1).reshape(-1, x.shape[axis])


def _place(x: Array, axis: int) -> int:
    """`axis` from 0, the last where `x` has fewer."""
    return axis + x.ndim if axis < 0 else min(axis, x.ndim - 1)


def _spread_out(values: Array, limit: int) -> Array:
    """At most `limit` of `values`, evenly spaced."""
    return values[:: max(1, math.ceil(values.size / limit))]


def _agreement(kind: str, outputs: Array, targets: Array) -> float | None:
    if kind in ("bce", "bce_logits"):
        middle = 0.5 if kind == "bce" else 0.0
        return float(((outputs >= middle) == (targets >= 0.5)).mean())
    if kind in CLASS_LOSSES and outputs.shape[1] > 1:
        return float((outputs.argmax(1) == targets.argmax(1)).mean())
    return None


def _correlation(outputs: Array, targets: Array) -> float | None:
    """Pearson's, of all entries; None where one side is constant or not finite."""
    x, y = outputs.reshape(-1).astype(np.float64), targets.reshape(-1).astype(np.float64)
    x, y = x - x[0], y - y[0]  # constant ones become exactly 0
    x, y = x - x.mean(), y - y.mean()
    size = norm(x) * norm(y)
    if not size or not math.isfinite(size):
        return None
    return max(-1.0, min(1.0, float(x @ y) / size))


def _broadcast_against_each_other(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Outputs and targets were both stretched, as (N, 1) and (N,) are to (N, N)."""
    try:
        both = np.broadcast_shapes(a, b)
    except ValueError:
        return False
    return math.prod(both) > max(math.prod(a), math.prod(b))


def _binary_entropy(p: float) -> float:
    if not 0 < p < 1:
        return 0.0 if p in (0, 1) else math.nan
    return -p * math.log(p) - (1 - p) * math.log(1 - p)
