"""What is emitted inside a step arrives once per execution, in order, however the step is run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from tests.frameworks._kept import KeptSession  # noqa: E402

from trimtab.frameworks.tensorflow import tracing  # noqa: E402
from trimtab.frameworks.tensorflow._rings import MOST_ROWS  # noqa: E402


class Counter:
    """A step that counts its executions in a variable, and emits the count."""

    def __init__(self, session: KeptSession) -> None:
        self.tracing = tracing(session)
        self.count = tf.Variable(0.0, trainable=False)
        self.rows: list[list[float]] = []

    def step(self) -> None:
        self.count.assign_add(1.0)
        sampled = self.tracing.is_sampled()
        twice = self.tracing.when_sampled(lambda: tf.stack([2 * self.count, 3 * self.count]), 2)
        self.tracing.emit(self.receive, tf.concat([[self.count, sampled], twice], 0))

    def receive(self, vector: Any) -> None:
        assert vector.dtype == np.float32
        self.rows.append(vector.tolist())

    def arrived(self) -> list[list[float]]:
        self.tracing.fetch()
        return self.rows


@pytest.fixture
def counter(session: KeptSession) -> Counter:
    return Counter(session)


def executed(counter: Counter, steps: int) -> None:
    assert [row[0] for row in counter.arrived()] == list(range(1, steps + 1))


def compiled(function: Callable[..., Any], how: str) -> Any:
    return {"eager": lambda: function, "graph": lambda: tf.function(function)}.get(
        how, lambda: tf.function(function, jit_compile=True)
    )()


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_every_step_arrives_in_order(counter: Counter, how: str) -> None:
    step = compiled(counter.step, how)
    for _ in range(150):
        step()
    executed(counter, 150)


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_the_first_two_steps_are_sampled_and_the_quiet_ones_hold_nan(counter: Counter, how: str) -> None:
    step = compiled(counter.step, how)
    for _ in range(8):
        step()
    rows = counter.arrived()
    assert rows[:2] == [[1, 1, 2, 3], [2, 1, 4, 6]]
    assert all(sampled == 0 and math.isnan(a) and math.isnan(b) for _, sampled, a, b in rows[2:])


def test_it_is_sampled_again(counter: Counter) -> None:
    step = tf.function(counter.step)
    for _ in range(30):
        step()
    assert any(sampled for _, sampled, *_ in counter.arrived()[5:])


def test_functions_run_eagerly(counter: Counter) -> None:
    step = tf.function(counter.step)
    tf.config.run_functions_eagerly(True)
    try:
        step()
        assert counter.rows[0][:2] == [1, 1]
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("how", ["graph", "xla"])
def test_a_loop_of_more_steps_than_a_ring_has_rows(counter: Counter, session: KeptSession, how: str) -> None:
    inner, steps = compiled(counter.step, how), 2 * MOST_ROWS + 50

    @tf.function
    def many() -> None:
        for _ in tf.range(steps):
            inner()

    many()
    executed(counter, steps)
    assert session.events == []
    sampled = [row[1] for row in counter.rows]
    assert sampled[:4] == [1, 1, 1, 1]
    assert sum(sampled) < steps / 10


def test_a_step_repeated_in_one_graph(counter: Counter) -> None:
    @tf.function
    def many() -> None:
        for _ in range(130):
            counter.step()

    for _ in range(9):
        many()
    executed(counter, 9 * 130)


def test_steps_that_are_lost_in_a_compiled_loop_are_told(counter: Counter, session: KeptSession) -> None:
    @tf.function(jit_compile=True)
    def many() -> None:
        for _ in tf.range(MOST_ROWS + 500):
            counter.step()

    many()
    rows = counter.arrived()
    assert [row[0] for row in rows] == list(range(501, MOST_ROWS + 501))
    assert [data["what"] for kind, data in session.events if kind == "unseen"] == ["steps within one call"]
    assert "500" in session.events[0][1]["why"]


def test_a_step_in_a_branch_arrives_when_the_branch_is_taken(counter: Counter) -> None:
    calls = tf.Variable(0)

    @tf.function
    def sometimes() -> None:
        calls.assign_add(1)
        if calls % 3 == 0:
            counter.step()

    for _ in range(10):
        sometimes()
    executed(counter, 3)


def test_two_receivers_keep_the_order_between_them(session: KeptSession) -> None:
    names: list[str] = []
    traced = tracing(session)

    @tf.function
    def step() -> None:
        traced.emit(lambda v: names.append("generator"), tf.ones([3]))
        traced.emit(lambda v: names.append("discriminator"), tf.ones([2]))

    for _ in range(40):
        step()
    traced.fetch()
    assert names == ["generator", "discriminator"] * 40


def test_a_retraced_function_goes_on(counter: Counter) -> None:
    step = tf.function(lambda batch: counter.step())
    for size in (8, 8, 3, 8, 3):
        step(tf.ones([size]))
    executed(counter, 5)


@pytest.mark.parametrize("how", ["graph", "xla"])
def test_a_function_is_traced_as_often_as_without_us(counter: Counter, how: str) -> None:
    traces: list[int] = []

    def step(batch: Any) -> None:
        traces.append(batch.shape[0])
        counter.step()

    function = compiled(step, how)
    for size in (8, 8, 3, 8, 3):
        function(tf.ones([size]))
    assert traces == [8, 3]


def test_a_concrete_function(counter: Counter) -> None:
    step = tf.function(counter.step).get_concrete_function()
    for _ in range(20):
        step()
    executed(counter, 20)


def test_nothing_is_recorded_on_a_tape(counter: Counter) -> None:
    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = x * x
        counter.tracing.norms([y])
        counter.step()
    assert float(tape.gradient(y, x)) == 6.0
    assert [v.name for v in tape.watched_variables()] == [x.name]


class Model(tf.Module):  # type: ignore[misc]
    """What a script exports: its training step holds a ring."""

    def __init__(self, counter: Counter | None) -> None:
        super().__init__()
        self.weight = tf.Variable([1.0, 2.0])
        self._counter = [counter]  # a plain list's entry is tracked only if it is trackable

    @tf.function(input_signature=[tf.TensorSpec([2])])
    def train(self, x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.weight * x)
        self.weight.assign_sub(0.1 * tape.gradient(loss, self.weight))
        if self._counter[0] is not None and self._counter[0].tracing.watches():
            self._counter[0].step()
        return loss


def test_a_saved_model_with_a_training_step_is_as_plain(counter: Counter, tmp_path: Path) -> None:
    model, plain = Model(counter), Model(None)
    for each in (model, plain):
        each.train(tf.ones([2]))
    assert [v.name for v in model.variables] == [v.name for v in plain.variables]
    tf.saved_model.save(model, str(tmp_path / "watched"))
    model.train(tf.ones([2]))
    assert len(counter.arrived()) == 2
    tf.saved_model.save(plain, str(tmp_path / "plain"))
    assert graph_of(tmp_path / "watched") == graph_of(tmp_path / "plain")
    assert float(tf.saved_model.load(str(tmp_path / "watched")).train(tf.ones([2]))) == pytest.approx(2.8)


def graph_of(directory: Path) -> list[tuple[str, list[str]]]:
    """Operations of a SavedModel and of its functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    return [
        *(("", [node.op for node in graph.node]),),
        *sorted(
            (f.signature.name.rpartition("_")[0], [node.op for node in f.node_def]) for f in graph.library.function
        ),
    ]


def test_a_checkpoint_holds_the_script_s_variables_alone(counter: Counter, tmp_path: Path) -> None:
    model = Model(counter)
    model.train(tf.ones([2]))
    path = tf.train.Checkpoint(model=model).save(str(tmp_path / "c"))
    names = [name for name, _ in tf.train.list_variables(path)]
    assert not any("trimtab" in name for name in names)
    assert sorted(n.partition("/.ATTRIBUTES")[0] for n in names if "weight" in n) == ["model/weight"]


def test_a_receiver_that_raises_does_not_reach_the_training(session: KeptSession) -> None:
    traced = tracing(session)

    def fail(vector: Any) -> None:
        raise RuntimeError("ours")

    @tf.function
    def step() -> Any:
        traced.emit(fail, tf.ones([1]))
        return tf.constant(7)

    assert [int(step()) for _ in range(200)] == [7] * 200
    assert len(session.errors) == 1
    session.errors.clear()
