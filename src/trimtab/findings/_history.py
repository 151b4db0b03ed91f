"""A training as the rules see it: the record's columns for one part of a run, prepared once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ._squares import chance_of_squares
from ._sums import summed_rows

T = TypeVar("T")
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Array]


class SeriesLike(Protocol):
    """What rules read of one optimizer of one process; `trimtab.runs.Series` is one."""

    @property
    def process(self) -> int: ...
    @property
    def optimizer(self) -> int: ...
    @property
    def steps(self) -> Columns: ...
    @property
    def losses(self) -> Columns: ...
    @property
    def sampled_steps(self) -> Array: ...
    @property
    def info(self) -> Mapping[str, Any]: ...
    def tensors(self, step: int) -> Columns: ...
    def modules(self, step: int) -> Columns: ...


class RecordLike(Protocol):
    """What rules read of a run; `trimtab.runs.Record` is one."""

    @property
    def meta(self) -> Mapping[str, Any]: ...
    def series(self) -> Sequence[SeriesLike]: ...
    def events(self) -> Columns: ...
    def metrics(self) -> Columns: ...
    def guard(self) -> Columns: ...


@dataclass(frozen=True)
class Event:
    process: int
    optimizer: int
    step: int
    time: float
    kind: str
    data: Mapping[str, Any]


class ReadOnce:
    """A series whose rows of one step are read from the record once, though many rules and causes ask for them."""

    def __init__(self, series: SeriesLike) -> None:
        self._series = series
        self.process = series.process
        self.optimizer = series.optimizer
        self.tensors = cache(series.tensors)
        self.modules = cache(series.modules)

    @cached_property
    def steps(self) -> Columns:
        return self._series.steps

    @cached_property
    def losses(self) -> Columns:
        return _of_one_kind(self._series.losses)

    @cached_property
    def sampled_steps(self) -> Array:
        return self._series.sampled_steps

    @cached_property
    def info(self) -> Mapping[str, Any]:
        return self._series.info


def _of_one_kind(losses: Columns) -> Columns:
    """Where a model has several losses, of different kinds, the rows of the commonest: what is read off outputs and
    targets holds for one of them. The best constant answer to all is not known then."""
    kinds = np.asarray([str(kind or "") for kind in losses.get("kind", ())])
    known, counts = np.unique(kinds[(kinds != "") & (kinds != "unknown")], return_counts=True)
    if len(known) < 2:
        return losses
    rows = kinds == known[np.argmax(counts)]
    kept = {name: np.asarray(column)[rows] for name, column in losses.items()}
    return kept | {"chance": np.full(int(rows.sum()), np.nan)}


class Track:
    """One optimizer's steps, with null told apart from NaN."""

    def __init__(self, series: SeriesLike) -> None:
        self.series = ReadOnce(series)
        self.process = int(series.process)
        self.optimizer = int(series.optimizer)

    @cached_property
    def columns(self) -> Columns:
        return self.series.steps

    @cached_property
    def step(self) -> Array:
        return np.asarray(self.columns["step"])

    @cached_property
    def time(self) -> Array:
        return np.asarray(self.columns["time"])

    @cached_property
    def has_loss(self) -> Array:
        """Shape (rows,): a backward pass was seen, so that a NaN in `loss` is the training's own."""
        return np.asarray(self.columns["backwards"] > 0)

    @cached_property
    def loss_rows(self) -> Array:
        """Rows of `columns` whose loss was seen."""
        return np.flatnonzero(self.has_loss)

    @cached_property
    def loss(self) -> Floats:
        """The losses seen, NaN and infinities included, in order of `loss_rows`."""
        return np.asarray(self.columns["loss"], dtype=np.float64)[self.loss_rows]

    @cached_property
    def finite_rows(self) -> Array:
        return np.asarray(self.loss_rows[np.isfinite(self.loss)])

    @cached_property
    def finite_loss(self) -> Floats:
        """The finite losses, in order of `finite_rows`."""
        return np.asarray(self.loss[np.isfinite(self.loss)])

    @cached_property
    def skipped(self) -> Array:
        """Shape (rows,): a gradient scaler or a policy withheld the step."""
        return np.asarray(self.columns["skipped"], dtype=bool)

    @cached_property
    def chance(self) -> float:
        """What the best constant answer on all targets seen would give for `loss`; NaN where it is not known."""
        chance = np.asarray(self.series.losses.get("chance", ()), dtype=np.float64)
        known = chance[np.isfinite(chance)]
        return float(known[-1]) * self.summed_rows if len(known) else chance_of_squares(self.series.losses)

    @cached_property
    def summed_rows(self) -> int:
        """Rows of the batch over which the loss is a sum; 1 where it is a mean, as it mostly is."""
        return summed_rows(float(self.finite_loss[0]), self.series.losses) if len(self.finite_loss) else 1

    @cached_property
    def loss_kind(self) -> str:
        kinds = [str(k) for k in self.series.losses.get("kind", ()) if k and str(k) != "unknown"]
        return kinds[-1] if kinds else "unknown"

    @cached_property
    def clipped(self) -> bool:
        """The script's own clip was seen at work."""
        raw, applied = self.columns["grad_norm_raw"], self.columns["grad_norm"]
        both = np.isfinite(raw) & np.isfinite(applied)
        return bool(np.any(applied[both] < 0.999 * raw[both]))

    @property
    def last_step(self) -> int:
        return int(self.step[-1])

    def __len__(self) -> int:
        return len(self.step)


@dataclass(frozen=True)
class History:
    """One part of a run: the optimizers that train one model (or several that train each other).

    `live`: the training still runs, and only what is certain enough to interrupt someone is wanted.
    `one_of_many`: the run has other parts, so that places name their optimizer.
    """

    record: RecordLike
    tracks: tuple[Track, ...]
    live: bool = False
    one_of_many: bool = False
    _found: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: object, find: Callable[[], T]) -> T:
        """What `find` gives, found at most once for this history."""
        if key not in self._found:
            self._found[key] = find()
        found: T = self._found[key]
        return found

    @cached_property
    def events(self) -> list[Event]:
        """Events of this part's processes, in order of time."""
        columns = self.record.events()
        if not columns or not len(columns["step"]):
            return []
        rows = np.argsort(columns["time"], kind="stable")
        return [_event(columns, int(row)) for row in rows]

    def events_of(self, kind: str, track: Track | None = None) -> list[Event]:
        return [
            event
            for event in self.events
            if event.kind == kind
            and (track is None or (event.process, event.optimizer) == (track.process, track.optimizer))
        ]

    @cached_property
    def lead(self) -> Track | None:
        """The track whose loss stands for the part: the first process's longest one with a loss."""
        first = [t for t in self.tracks if t.process == self.tracks[0].process]
        with_loss = [t for t in first if len(t.loss)] or [t for t in self.tracks if len(t.loss)]
        return max(with_loss, key=lambda t: (len(t.loss), -t.optimizer), default=None)

    @cached_property
    def adversarial(self) -> bool:
        """Several optimizers of one process, each with losses of its own, as in a GAN or an actor-critic."""
        owners = {t.optimizer for t in self.tracks if len(t.loss)}
        return len(owners) > 1

    @cached_property
    def distributed(self) -> bool:
        return len({t.process for t in self.tracks}) > 1

    @cached_property
    def several(self) -> bool:
        return self.one_of_many or len({t.optimizer for t in self.tracks}) > 1

    @property
    def steps(self) -> int:
        """Steps of the longest track; ranks do not add up."""
        return max((track.last_step + 1 for track in self.tracks if len(track)), default=0)

    def place(self, track: Track, **names: Any) -> dict[str, Any]:
        """An entry of a finding's `where`, with rank and optimizer where there are several."""
        place = {key: name for key, name in names.items() if name is not None}
        if self.distributed:
            place["rank"] = track.process
        if self.several:
            place["optimizer"] = track.optimizer
        return place


def _event(columns: Columns, row: int) -> Event:
    try:
        data = json.loads(str(columns["data"][row] or "{}"))
    except ValueError:
        data = {}
    return Event(
        int(columns["process"][row]),
        int(columns["optimizer"][row]),
        int(columns["step"][row]),
        float(columns["time"][row]),
        str(columns["kind"][row]),
        data if isinstance(data, dict) else {},
    )
