"""Small readings of a track that several causes need. What was not measured is NaN, an empty array or an empty text."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from .._evidence import optimizer_name, tensors
from .._history import Array, Columns, Floats, Track
from .._levels import MAD_TO_STD
from ._cause import Case

WINDOW = 50  # steps before, against which a step is held
FEWEST = 10  # of them are a past
ADAPTIVE = ("ada", "rmsprop", "lamb", "yogi")
RECURRENT = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
CLASS_LOSSES = ("cross_entropy", "nll")
VALUE_LOSSES = ("mse", "l1", "smooth_l1", "huber")


def measured(columns: Columns, name: str) -> Floats:
    """The finite values of a float column that were measured."""
    values = np.asarray(columns.get(name, ()), dtype=np.float64)
    return values[np.isfinite(values)]


def counts_of(columns: Columns, name: str) -> Floats:
    """The values of an integer column that were measured."""
    values = np.asarray(columns.get(name, ()), dtype=np.float64)
    return values[values >= 0]


def median_of(columns: Columns, name: str) -> float:
    """Median of the values of a float column that were measured; NaN where none was."""
    values = measured(columns, name)
    return float(np.median(values)) if len(values) else math.nan


def least_of(columns: Columns, name: str) -> float:
    return float(measured(columns, name).min(initial=math.inf))


def largest_of(columns: Columns, name: str) -> float:
    return float(measured(columns, name).max(initial=-math.inf))


def word_of(columns: Columns, name: str) -> str:
    """The most frequent of the words of a text column."""
    words = Counter(str(word) for word in columns.get(name, ()) if word)
    return words.most_common(1)[0][0] if words else ""


def mostly(columns: Columns, name: str) -> bool:
    """A flag is set in more than half of the rows."""
    flags = np.asarray(columns.get(name, ()), dtype=bool)
    return bool(len(flags)) and float(flags.mean()) > 0.5


def adaptive(track: Track) -> bool:
    """The optimizer divides each gradient by an average of its past size."""
    name = optimizer_name(track).lower()
    return any(part in name for part in ADAPTIVE)


def parameters(track: Track) -> int:
    """Entries of all parameters that the optimizer holds; 0 where they are not recorded."""
    return sum(math.prod(int(n) for n in entry["shape"]) for entry in tensors(track))


def row_of(case: Case) -> int:
    """The row of the track at which the trouble begins."""
    return min(int(np.searchsorted(case.track.step, case.first_step)), len(case.track) - 1)


def steps_with_modules(track: Track, until: int | None = None) -> list[int]:
    """Sampled steps, at most twelve spread evenly."""
    sampled = np.asarray(track.series.sampled_steps)
    if until is not None:
        sampled = sampled[sampled <= until]
    if len(sampled) > 12:
        sampled = sampled[np.linspace(0, len(sampled) - 1, 12).astype(int)]
    return [int(step) for step in sampled]


def first_modules(track: Track) -> Columns:
    """The modules of the earliest sampled step that recorded any."""
    return next((rows for step in steps_with_modules(track)[:3] if len(rows := _modules(track, step))), {})


def last_modules(case: Case) -> Columns:
    """The modules of the latest sampled step within the trouble that recorded any, not finite or not."""
    steps = steps_with_modules(case.track, case.last_step)[::-1]
    return next((rows for step in steps[:3] if len(rows := _modules(case.track, step))), {})


def in_order(modules: Columns) -> list[int]:
    """Rows in order of the forward pass."""
    return [int(i) for i in np.argsort(modules["call"], kind="stable")] if "call" in modules else []


def weighted(modules: Columns) -> list[int]:
    """Rows of the modules that own a weight matrix, embeddings left out, in order of the forward pass."""
    return [i for i in in_order(modules) if modules["weighted"][i] and str(modules["kind"][i]) != "Embedding"]


def data_row(modules: Columns) -> int | None:
    """The row of the weighted module that is fed with the data; None where it cannot be told."""
    rows = weighted(modules)
    if not rows or (modules.get("in_after") is not None and modules["in_after"][rows[0]]):
        return None
    before = in_order(modules)[: in_order(modules).index(rows[0])]
    if any(str(modules["kind"][i]).endswith(("Embedding", "EmbeddingBag")) for i in before):
        return None
    return rows[0]


def reading(modules: Columns, name: str, row: int) -> float:
    column = modules.get(name)
    return float(column[row]) if column is not None and column[row] is not None else math.nan


def words(modules: Columns, name: str, rows: list[int]) -> list[str]:
    """Of a text column, "" where it was not measured."""
    column: Array | list[Any] = modules.get(name, [])
    return [str(column[i] or "") for i in rows] if len(column) else ["" for _ in rows]


def kinds(modules: Columns) -> set[str]:
    return {str(kind) for kind in modules.get("kind", ())}


def recurrent(modules: Columns, calls: int = 10) -> str:
    """What makes the net recurrent: the class of a recurrent module, or the name of a layer called many times."""
    known = sorted(kinds(modules) & set(RECURRENT))
    if known:
        return known[0]
    again = Counter(str(modules["module"][i]) for i in weighted(modules))
    name, count = again.most_common(1)[0] if again else ("", 0)
    return name if count >= calls else ""


def robust_z(values: Floats, row: int) -> float:
    """How many standard deviations a value lies above the median of up to `WINDOW` before it, by median and MAD; NaN
    where those are too few."""
    before = values[max(0, row - WINDOW) : row]
    before = before[np.isfinite(before)]
    if len(before) < FEWEST or not math.isfinite(values[row]):
        return math.nan
    middle = float(np.median(before))
    spread = MAD_TO_STD * float(np.median(np.abs(before - middle)))
    rise = float(values[row]) - middle
    return rise / spread if spread > 0 else math.inf if rise > 0 else 0.0


def logs(values: Array) -> Floats:
    """log10; NaN where a value is not positive or not finite."""
    numbers = np.asarray(values, dtype=np.float64)
    good = np.isfinite(numbers) & (numbers > 0)
    return np.where(good, np.log10(np.where(good, numbers, 1.0)), np.nan)


def past_median(values: Array, row: int) -> float:
    before = np.asarray(values, dtype=np.float64)[max(0, row - WINDOW) : row]
    before = before[np.isfinite(before)]
    return float(np.median(before)) if len(before) else math.nan


def longest_streak(flags: Array) -> tuple[int, int]:
    """(first row, length) of the longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(lengths))
    return int(starts[longest]), int(lengths[longest])


def _modules(track: Track, step: int) -> Columns:
    rows = track.series.modules(step)
    return rows if rows and len(rows.get("call", ())) else {}


def validation_losses(case: Case) -> Floats:
    """The values of the validation loss that was taken most often, in order of time; empty where there is none."""
    metrics = case.history.record.metrics()
    names = np.asarray([str(name) for name in metrics.get("name", ())])
    values = np.asarray(metrics.get("value", ()), dtype=np.float64)
    seen = np.isfinite(values) & np.asarray([name.startswith("val_loss") for name in names], dtype=bool)
    if not seen.any():
        return np.zeros(0)
    found, counts = np.unique(names[seen], return_counts=True)
    rows = np.flatnonzero(seen & (names == found[np.argmax(counts)]))
    return values[rows[np.argsort(np.asarray(metrics["time"])[rows], kind="stable")]]
