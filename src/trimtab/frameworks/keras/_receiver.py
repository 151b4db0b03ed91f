"""The host's side of a traced optimizer: its vectors become steps of its series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from .._guard import Guard
from .._series import Series
from ._layout import Layout, Vector

More = Callable[[Sequence[float | None] | None], dict[str, Sequence[float | None]]]


@dataclass
class Watched:
    """One optimizer: its series, and what has come of a step that is not complete."""

    optimizer: ref[Any]
    series: Series
    names: dict[int, str]
    roots: list[ref[Any]]
    receivers: dict[Layout, Receiver] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    at_start: dict[str, float | None] = field(default_factory=dict)
    describe: Callable[[], None] = lambda: None  # tells run.json what is new in the series' `info`


class Receiver:
    """Takes the vectors of one layout of one optimizer."""

    def __init__(
        self,
        watched: Watched,
        layout: Layout,
        guard: Guard,
        arrived: Callable[[], list[float]],
        on_sampled_in_vain: Callable[[], None],
    ) -> None:
        self._watched = watched
        self._layout = layout
        self._arrived = arrived
        self._on_sampled_in_vain = on_sampled_in_vain
        self._guard = guard
        self._note = guard(self._add)

    @property
    def optimizer(self) -> Any:
        """What is the same for all receivers of an optimizer."""
        return id(self._watched)

    def __call__(self, vector: Vector, more: More | None = None) -> None:
        """`more` gives columns of a sampled step, from the number of each gradient's zeros if that is known."""
        self._note(vector, more)

    def _add(self, vector: Vector, more: More | None) -> None:
        reading, watched = self._layout.read(vector), self._watched
        watched.losses += reading.losses(self._arrived())
        if not reading.is_applied:
            if reading.is_sampled:
                self._on_sampled_in_vain()
            return
        losses, watched.losses = watched.losses, []
        step = reading.step(losses, self._guard.seconds)
        self._guard.seconds = 0.0
        if reading.is_sampled and not reading.is_left_out and more is not None:
            step.samples |= more(step.samples.get("grad_zeros"))
        if step.samples and watched.at_start:
            step.samples["twin_units"] = [watched.at_start.get(name) for name in step.names]
            watched.at_start = {}
        if not watched.series.steps:
            watched.series.info["groups"][0]["lr"] = step.lr
            watched.describe()
        watched.series.add(step)
