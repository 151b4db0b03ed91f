"""Measuring inside of TensorFlow's steps, eager or traced; `frameworks/_tracing.py` says what is offered."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

from .._guard import Guard
from .._outbox import Session
from .._patches import Patches
from .._series import BLOCK_SECONDS, BLOCK_STEPS, Hub
from .._tracing import Receive
from ._internals import (
    ConcreteFunction,
    current_graph,
    enclosing_graphs,
    is_eager,
    is_exporting,
    is_in_loop,
    is_loop_body,
    is_tensorflow_1,
    is_xla,
    stop_recording,
)
from ._norms import apart, norms
from ._rings import Ring, Rings
from ._windows import Windows


@dataclass(eq=False)
class Traced:
    """What a graph holds of ours: its rings, and in how many places it writes into one; whether some of these lie in
    a loop of it; whether it fetches what it wrote by itself; how many vectors its first call from the host wrote."""

    rings: set[Ring] = field(default_factory=set)
    places: int = 0
    loops: bool = False
    fetches: bool = False
    written: int | None = None


class TensorFlowTracing:
    """The process's one. Its hook sees every call of a traced function from the host.

    `windows` tells the host whether the next call is sampled, and takes the time that sampling takes beside it.
    """

    def __init__(self, session: Session) -> None:
        self._hub = Hub.of(session)
        self._hub.at_flush(self.fetch)
        self._guard = Guard(session, "TensorFlow")
        self._flush = self._guard(self._fetch_in_call)
        self.windows = Windows(self._hub.now)
        self._rings = Rings(self._say_lost)
        self._fetch = self._guard(self._rings.fetch)
        self._traced: WeakKeyDictionary[Any, Traced] = WeakKeyDictionary()
        self._awaited = 0
        self._fetched_at = 0.0

    def attach(self, patches: Patches) -> None:
        original = ConcreteFunction._call_flat
        before, after = self._guard(self._before_call), self._guard(self._after_call)
        note_nested, of_graph = self._guard(self._note_nested), self._traced.get

        def _call_flat(function: Any, tensor_inputs: Any, captured_inputs: Any) -> Any:
            traced = of_graph(function._func_graph)
            if traced is None:
                return original(function, tensor_inputs, captured_inputs)
            if not is_eager():
                outputs = original(function, tensor_inputs, captured_inputs)
                note_nested(traced)
                return outputs
            before(traced)
            began = perf_counter()
            try:
                return original(function, tensor_inputs, captured_inputs)
            finally:
                after(traced, perf_counter() - began)

        patches.replace(ConcreteFunction, "_call_flat", _call_flat)

    # What is offered to those who measure.

    def watches(self) -> bool:
        """Whether what is traced or run now can be watched. Nothing of ours may be traced where it cannot."""
        if is_tensorflow_1() or is_exporting():
            return False
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            self._hub.unseen(
                "distributed steps", "tf.distribute trains on several replicas: their steps are not recorded."
            )
            return False
        return True

    def emit(self, receive: Receive, vector: Any) -> None:
        if not self.watches():
            return
        with stop_recording():
            if is_eager():
                receive(np.asarray(vector, dtype=np.float32))
                self.windows.end(receive)
            else:
                self._emit_traced(receive, tf.cast(vector, tf.float32))

    def norms(self, tensors: list[Any]) -> Any:
        with stop_recording():
            return norms(tensors)

    def apart(self, tensors: list[Any]) -> list[Any]:
        """The same values, for use in `when_sampled` without a change to how the step is rounded."""
        with stop_recording():
            return apart(tensors)

    def when_sampled(self, measure: Callable[[], Any], size: int) -> Any:
        with stop_recording():
            if not is_eager():
                return tf.cond(self.windows.left() > 0, measure, lambda: tf.fill([size], math.nan))
            if not self.windows.sampled:
                return tf.fill([size], math.nan)
            began = perf_counter()
            measured = measure()
            self.windows.spend(perf_counter() - began)
            return measured

    def is_sampled(self) -> Any:
        if is_eager():
            return float(self.windows.sampled)
        return tf.cast(self.windows.left() > 0, tf.float32)

    def restart(self, windows: int = 1) -> None:
        self.windows.restart(windows)

    def fetch(self) -> None:
        self._awaited, self._fetched_at = 0, self._hub.now()
        self._fetch()

    # Traces.

    def _emit_traced(self, receive: Receive, vector: Any) -> None:
        ring = self._rings.ring(receive, vector.shape[0])
        count = self._rings.write(ring, vector)
        self.windows.count_step()
        here = self._note(Traced({ring}, 1))
        if here.places % BLOCK_STEPS == 0:
            self._fetch_when_due(here, count, BLOCK_STEPS)
        elif is_in_loop(current_graph()):
            self._fetch_when_due(here, count, 1)

    def _note(self, new: Traced) -> Traced:
        """The graph that is being traced, and those around it, hold `new`; what the first of them holds now."""
        loops = new.loops
        for graph in enclosing_graphs(current_graph()):
            traced = self._traced.setdefault(graph, Traced())
            traced.rings |= new.rings
            traced.places += new.places
            traced.loops |= loops
            loops |= is_loop_body(graph)
        return self._traced[current_graph()]

    def _note_nested(self, traced: Traced) -> None:
        """A function that writes into rings has been called by one that is being traced."""
        here = self._note(traced)
        if not traced.fetches and is_in_loop(current_graph()):
            with tf.control_dependencies(None):  # out of that function's XLA context, if it has one
                self._fetch_when_due(here, self._rings.count(), BLOCK_STEPS if traced.loops else traced.places)

    def _fetch_when_due(self, here: Traced, count: Any, steps: int) -> None:
        """Have the graph call the host at every BLOCK_STEPS vectors, of which the last `steps` have come at once: in a
        loop the host would come too late. Compiled code can't call."""
        if is_xla():
            return
        here.fetches = True

        def call() -> Any:
            left = tf.py_function(self._flush_to_tensor, [], tf.int64)
            self.windows.tell(left)
            return left

        tf.cond(count % BLOCK_STEPS < steps, call, lambda: tf.zeros([], tf.int64))

    def _flush_to_tensor(self) -> Any:
        return tf.constant(self._flush() or 0, tf.int64)

    def _fetch_in_call(self) -> int:
        self._fetch(call_goes_on=True)
        return self.windows.next_in_call()

    # Calls from the host.

    def _before_call(self, traced: Traced) -> None:
        if traced.written is None:
            self.fetch()  # so that it is known how many vectors the call writes
        self._rings.note_use(traced.rings)
        self.windows.begin_call(traced.places)

    def _after_call(self, traced: Traced, seconds: float) -> None:
        self._rings.note_use(traced.rings)
        self.windows.end_call(id(traced), seconds)
        if traced.written is None:
            traced.written = self._fetch()
            return
        self._awaited += traced.written or 0
        if self._awaited >= BLOCK_STEPS or self._hub.now() - self._fetched_at > BLOCK_SECONDS:
            self.fetch()

    def _say_lost(self, count: int) -> None:
        self._hub.unseen(
            "steps within one call",
            f"A function compiled by XLA took more steps in one call than can be kept: {count} of them were not seen.",
        )
