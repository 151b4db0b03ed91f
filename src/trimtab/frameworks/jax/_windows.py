"""The host's side: which calls of jitted functions are sampled, and records on their way from the device."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, perf_counter
from typing import Any

import jax
import jax.numpy as jnp

from .._clock import SamplingClock
from .._guard import Guard
from .._outbox import Session
from ._carry import Carry
from ._scope import Harvest, Record, entered, innermost
from ._trace import is_outside

# Larger weights are not copied.
MOST_BYTES = 256 << 20

# Records are looked at by so many, and handed over where the device is done with them; it is waited for where more
# than MOST_UNDER_WAY are on their way.
LOOKED_AT_BY = 4
MOST_UNDER_WAY = 32


class Windows:
    """One window is one outermost call of a function in which an optimizer steps, or one step taken eagerly.

    `is_sampled` says whether the one that is under way is; `record_time`, when the record that is being handed over
    arrived (if it was not called back, when its step was dispatched), on the clock of time.monotonic().
    """

    def __init__(self) -> None:
        self.is_sampled = False
        self.measuring_seconds = 0.0
        self.record_time = 0.0
        #: Of the sampled call that is under way: arguments by their place among all leaves, and the output's leaves.
        self.inputs: dict[int, Any] = {}
        self.outputs: list[Any] = []
        #: What goes from step to step.
        self.carry = Carry()
        self._session: Session | None = None
        self._lock = threading.RLock()
        self._under_way: deque[Record] = deque()
        self.received: Callable[[Sequence[Record]], None] = _drop
        self._called_back: deque[Record] = deque()
        self._calls_back = False

    def follow(self, session: Session) -> None:
        """Watch on behalf of `session`; the next window is its first."""
        self._session = session
        self._guard = Guard(session, "JAX")
        self.received = self._guard(self._receive)
        self._deliver_all = self._guard(self.deliver)
        self._keep = self._guard(self._copy_inputs)
        self._failed: set[str] = set()
        self._clock = SamplingClock()
        self._clock.resume(monotonic(), sampling=True)
        self._quiet, self._quiet_since, self._usual = 1, monotonic(), 0.0
        self.forget()
        self.is_sampled = True

    def restart(self, windows: int = 1) -> None:
        """Sample the next windows."""
        if self._session is not None:
            self._clock.restart(windows)
            self.is_sampled = True

    def stop(self) -> None:
        """What still arrives is for nobody."""
        self._session = None
        self.received = _drop
        self.is_sampled = False
        self.forget()

    def forget(self) -> None:
        """Drop what is under way: in a forked child it is the parent's."""
        self._under_way.clear()
        self._called_back.clear()

    def put(self, record: Record) -> None:
        """Have `record` handed over whenever what is being traced now is executed; if nothing is, at once."""
        scope = innermost()
        if scope is not None:
            scope.records.append(record)
        elif is_outside():
            self._arrived([record])
        else:
            self._calls_back = True
            jax.debug.callback(functools.partial(self._call_back, record.receive, record.ends_step), record.arrays)

    def _receive(self, records: Sequence[Record]) -> None:
        """What a jitted function has handed out: executed, or itself called in a trace."""
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree_util.tree_leaves(records))
        if not traced and innermost() is None:
            self._arrived(records)
        else:
            for record in records:
                self.put(record)

    def look_at(self, args: Any, kwargs: Any, trace: Callable[[], Any]) -> None:
        """Keep of the arguments of a sampled call what its records ask for; `trace` answers with a `Harvest` of
        shapes, if there are any."""
        if (kept := self._keep(args, kwargs, trace)) is not None:
            self.inputs = kept

    def look_away(self) -> None:
        self.inputs, self.outputs = {}, []

    def timed(self, run: Callable[[], Any]) -> Any:
        """Call a jitted function at a sampled step, with nothing else on the device, so that it is seen what measuring
        takes beyond the usual."""
        self._deliver_all()
        traces, began = entered(), perf_counter()
        out = run()
        if type(out) is Harvest and out.records:
            self.outputs = jax.tree_util.tree_leaves(out.out)
            _wait_for(out.records)
            if traces == entered():
                self.measuring_seconds += max(0.0, perf_counter() - began - self._usual)
        return out

    def _copy_inputs(self, args: Any, kwargs: Any, trace: Callable[[], Any]) -> dict[int, Any] | None:
        try:
            shapes = trace()
        except Exception:  # the script's own: it is raised again where it belongs, by the call
            return None
        if type(shapes) is not Harvest:
            return None
        wanted = {place for record in shapes.records for place in getattr(record.receive, "wanted", ())}
        if not wanted:
            return None
        leaves = jax.tree_util.tree_leaves((args, kwargs))
        if sum(leaves[place].nbytes for place in wanted) > MOST_BYTES:
            return None
        return {place: jnp.array(leaves[place], copy=True) for place in wanted}

    def deliver(self, most: float = 0) -> None:
        """Hand over what the device is done with; wait for it where more than `most` records are under way."""
        with self._lock:
            waiting = self._under_way
            while waiting and (len(waiting) > most or _is_ready(waiting[0])):
                self._hand_over(waiting.popleft())
            self._deliver_called_back()

    def fetch(self) -> None:
        """Wait for all that has been executed, and hand it over."""
        if self._calls_back:
            jax.effects_barrier()  # type: ignore[no-untyped-call]
        self.deliver()

    def _arrived(self, records: Sequence[Record]) -> None:
        if self._session is None:
            return
        now, sampled = monotonic(), self.is_sampled
        self._under_way.extend(record._replace(time=now) for record in records)
        enders = [record for record in records if record.ends_step]
        if enders:
            self._end_window(enders, now)
        if sampled:  # before the script can give its arrays away, of which some may have been handed out
            self.deliver()
        elif len(self._under_way) >= LOOKED_AT_BY:
            self.deliver(MOST_UNDER_WAY)

    def _call_back(self, receive: Callable[[Any], None], ends_step: bool, arrays: Any) -> None:
        """From within an execution, on a thread of its own, for which another may be waiting with the lock."""
        self._called_back.append(Record(receive, arrays, ends_step, monotonic()))
        if len(self._called_back) >= MOST_UNDER_WAY and self._lock.acquire(blocking=False):
            try:
                self._deliver_called_back()
            finally:
                self._lock.release()

    def _deliver_called_back(self) -> None:
        while self._called_back:
            record = self._called_back.popleft()
            self._hand_over(record)
            if record.ends_step and self._session is not None:
                self._end_window([record], record.time)

    def _hand_over(self, record: Record) -> None:
        if self._session is None:
            return
        self.record_time = record.time
        kind = getattr(record.receive, "__qualname__", type(record.receive).__qualname__)
        if kind in self._failed:
            return
        try:
            record.receive(record.arrays)
        except Exception:
            self._failed.add(kind)
            self._guard.complain(record.receive)

    def _end_window(self, records: Sequence[Record], now: float) -> None:
        clock = self._clock
        if self.is_sampled:
            spent, self.measuring_seconds = self.measuring_seconds, 0.0
            clock.end_sampled(hash(tuple(_optimizer(record) for record in records)), now, spent)
            self._quiet, self._quiet_since = clock.left, now
        else:
            clock.left -= 1
            if clock.left > 0:
                return
            self._usual = (now - self._quiet_since) / self._quiet
            clock.end_quiet(now)
        self.is_sampled = clock.on


def _drop(records: Sequence[Record]) -> None:
    """Nobody watches."""


def _is_ready(record: Record) -> bool:
    arrays = (array for array in jax.tree_util.tree_leaves(record.arrays) if isinstance(array, jax.Array))
    return all(array.is_ready() for array in arrays)  # type: ignore[attr-defined]


def _optimizer(record: Record) -> Any:
    return getattr(record.receive, "optimizer", id(record.receive))


def _wait_for(records: Sequence[Record]) -> None:
    """A computation that failed says so where the script uses its result."""
    try:
        jax.block_until_ready([record.arrays for record in records])  # type: ignore[no-untyped-call]
    except Exception:
        return
