"""The loss that belongs to a step, where `GradientTape.gradient` and the step are written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")

from tests.frameworks._kept import KeptSession  # noqa: E402

from trimtab.frameworks.tensorflow import attach, loss_of_step, tracing  # noqa: E402


class Loops:
    """Training loops over two variables; `seen` holds (loss, passes) of every step, as the host got them."""

    def __init__(self, session: KeptSession) -> None:
        self.session = session
        self.a, self.b = tf.Variable([1.0, 2.0]), tf.Variable(3.0)
        self.sum, self.calls = tf.Variable([0.0, 0.0], trainable=False), tf.Variable(0, trainable=False)
        self.x = tf.constant([1.0, 1.0])
        self.seen: list[tuple[float, float]] = []

    def apply(self, grads: list[Any], variables: list[Any]) -> None:
        found = loss_of_step(self.session, grads, variables)
        pair = [-1.0, 0.0] if found is None else [found.loss, tf.convert_to_tensor(found.count)]
        tracing(self.session).emit(self.receive, tf.stack(pair))
        for gradient, variable in zip(grads, variables, strict=True):
            variable.assign_sub(0.01 * gradient)

    def receive(self, vector: Any) -> None:
        self.seen.append((float(vector[0]), float(vector[1])))

    def gradient(self) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.a * self.a)
        return loss, tape.gradient(loss, [self.a])[0]

    def simple(self) -> Any:
        loss, gradient = self.gradient()
        self.apply([gradient], [self.a])
        return loss

    def clipped(self) -> Any:
        loss, gradient = self.gradient()
        self.apply([tf.clip_by_norm(gradient, 1.0)], [self.a])
        return loss

    def with_saliency(self) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(self.x)
            loss = tf.reduce_sum(self.a * self.a) + tf.reduce_sum(self.x)
        tape.gradient(loss * 100, self.x)
        tape.jacobian(self.a * self.a, self.a)
        tape.gradient(self.a, self.a, output_gradients=self.x)
        self.apply([tape.gradient(loss, self.a) * 1.0], [self.a])
        return loss

    def two_optimizers(self) -> Any:
        with tf.GradientTape() as first, tf.GradientTape() as second:
            loss, other = tf.reduce_sum(self.a * self.a), self.b * self.b
        of_a, of_b = first.gradient(loss, [self.a]), second.gradient(other, [self.b])
        self.apply(of_a, [self.a])
        self.apply(of_b, [self.b])
        return loss

    def accumulating(self) -> Any:
        loss, gradient = self.gradient()
        self.sum.assign_add(gradient)
        self.calls.assign_add(1)
        if self.calls % 3 == 0:
            self.apply([self.sum / 3.0], [self.a])
            self.sum.assign([0.0, 0.0])
        return loss


def compiled(function: Callable[..., Any], how: str) -> Any:
    return function if how == "eager" else tf.function(function, jit_compile=how == "xla")


@pytest.fixture
def loops(session: KeptSession) -> Loops:
    return Loops(session)


def run(loops: Loops, function: Any, steps: int = 4) -> list[float]:
    losses = [float(function()) for _ in range(steps)]
    tracing(loops.session).fetch()
    return losses


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
@pytest.mark.parametrize("loop", ["simple", "clipped"])
def test_one_pass_per_step(loops: Loops, loop: str, how: str) -> None:
    losses = run(loops, compiled(getattr(loops, loop), how))
    assert [count for _, count in loops.seen] == [1.0] * 4
    assert [loss for loss, _ in loops.seen] == pytest.approx(losses)


@pytest.mark.parametrize("how", ["eager", "graph"])
def test_gradients_by_other_things_than_variables_are_no_loss(loops: Loops, how: str) -> None:
    losses = run(loops, compiled(loops.with_saliency, how))
    assert loops.seen == [(pytest.approx(loss), 1.0) for loss in losses]


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_each_optimizer_has_the_loss_of_its_variables(loops: Loops, how: str) -> None:
    losses = run(loops, compiled(loops.two_optimizers, how), 2)
    assert [loss for loss, _ in loops.seen[::2]] == pytest.approx(losses)
    assert loops.seen[1] == (pytest.approx(9.0), 1.0)


@pytest.mark.parametrize("how", ["eager", "graph"])
def test_accumulated_gradients(loops: Loops, how: str) -> None:
    """The step lies in a branch: how many passes came before is known when it runs."""
    losses = run(loops, compiled(loops.accumulating, how), 9)
    means = [sum(losses[i : i + 3]) / 3 for i in (0, 3, 6)]
    assert loops.seen == [(pytest.approx(mean), 3.0) for mean in means]


def test_the_step_is_another_function_than_the_pass(loops: Loops) -> None:
    @tf.function
    def add() -> Any:
        loss, gradient = loops.gradient()
        loops.sum.assign_add(gradient)
        return loss

    @tf.function
    def step() -> None:
        loops.apply([loops.sum / 2.0], [loops.a])
        loops.sum.assign([0.0, 0.0])

    for _ in range(3):
        first, second = float(add()), float(add())
        step()
        tracing(loops.session).fetch()
        assert loops.seen[-1] == (pytest.approx((first + second) / 2), 2.0)


def test_a_look_at_the_gradients_before_the_training(loops: Loops) -> None:
    """The step applies gradients of another pass, which is known by them."""
    loops.gradient()
    losses = run(loops, loops.simple, 2)
    assert loops.seen == [(pytest.approx(loss), 1.0) for loss in losses]


def test_weights_are_as_plain(session: KeptSession) -> None:
    loops = Loops(session)
    step = tf.function(loops.clipped)
    run(loops, step, 20)
    attach(session).detach()
    plain = Loops(session)
    plain.apply = lambda grads, variables: [v.assign_sub(0.01 * g) for g, v in zip(grads, variables, strict=True)]
    step = tf.function(plain.clipped)
    for _ in range(20):
        step()
    assert loops.a.numpy().tobytes() == plain.a.numpy().tobytes()


def test_steps_by_hand_are_said_to_be_unseen(session: KeptSession) -> None:
    weight = tf.Variable(2.0)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = weight * weight
        weight.assign_sub(0.1 * tape.gradient(loss, weight))

    for _ in range(3):
        step()
    session.finish()
    session.finish()
    assert [data["what"] for kind, data in session.events if kind == "unseen"] == ["no step"]


def test_a_model_that_is_only_used_is_not_spoken_of(session: KeptSession) -> None:
    x = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x * tf.Variable(3.0)
    tape.gradient(y, x)
    session.finish()
    assert session.events == []
