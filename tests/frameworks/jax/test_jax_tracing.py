"""Records leave jitted steps: each once, in order, whatever form the jit has; and nothing else changes."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from trimtab.frameworks import jax as adapter  # noqa: E402


class Kept:
    """Emits its argument's first entry, and whether the step is sampled."""

    def __init__(self, tracing: Any) -> None:
        self.rows: list[list[float]] = []
        self._tracing = tracing

    def emit(self, x: Any) -> None:
        flag = jnp.asarray(self._tracing.is_sampled(), jnp.float32).reshape(1)
        doubled = self._tracing.when_sampled(lambda: 2 * jnp.reshape(x, -1)[:1], 1)
        self._tracing.emit(self._receive, jnp.concatenate([jnp.reshape(x, -1)[:1], flag, doubled]))

    @property
    def firsts(self) -> list[float]:
        self._tracing.fetch()
        return [row[0] for row in self.rows]

    def _receive(self, vector: Any) -> None:
        assert isinstance(vector, np.ndarray)
        self.rows.append(vector.tolist())


@pytest.fixture
def kept(watched: Any) -> Kept:
    return Kept(watched.tracing)


def test_one_record_per_call_in_order_the_first_two_sampled(kept: Kept) -> None:
    @jax.jit
    def step(x: Any) -> Any:
        kept.emit(x)
        return x + 1

    x = jnp.zeros(3)
    for _ in range(50):
        x = step(x)
    assert kept.firsts == list(range(50))
    assert [row[1] for row in kept.rows[:3]] == [1, 1, 0]
    for first, flag, doubled in kept.rows:
        assert doubled == 2 * first if flag else np.isnan(doubled)
    assert 3 <= sum(row[1] for row in kept.rows) < 10


def test_a_function_without_records_is_the_same_program(watched: Any) -> None:
    def f(x: Any) -> Any:
        return jnp.sin(x) * 2

    ours = jax.jit(f)
    assert ours(jnp.ones(3)).shape == (3,)
    inner = ours._jitted.lower(np.False_, jnp.ones(3)).compile()
    plain = ours._plain.lower(jnp.ones(3)).compile()
    assert inner.memory_analysis().argument_size_in_bytes == plain.memory_analysis().argument_size_in_bytes
    assert inner.memory_analysis().output_size_in_bytes == plain.memory_analysis().output_size_in_bytes


def test_a_function_is_traced_as_often_as_by_plain_jax(watched: Any, kept: Kept) -> None:
    traced = []

    def step(x: Any) -> Any:
        traced.append(x.shape)
        kept.emit(x)
        return x

    for _ in range(3):
        jax.jit(step)(jnp.ones(2))  # made anew: what has been compiled is found again
    jax.jit(step)(jnp.ones(3))
    assert traced == [(2,), (3,)]


def test_every_form_of_jit(kept: Kept) -> None:
    @jax.jit
    def plain(x: Any) -> Any:
        kept.emit(x)
        return x

    @functools.partial(jax.jit, static_argnums=(1, -1), donate_argnums=0)
    def static(x: Any, n: int, y: Any, m: int) -> Any:
        kept.emit(x)
        return x * n + y * m

    @functools.partial(jax.jit, static_argnames=("n",), donate_argnames="x")
    def named(x: Any, *, n: int) -> Any:
        kept.emit(x)
        return x * n

    class Model:
        @jax.jit
        def step(self: Any) -> Any:
            kept.emit(self)
            return self

        @functools.partial(jax.jit, static_argnums=0)
        def method(self, x: Any) -> Any:
            kept.emit(x)
            return x

    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    @functools.partial(jax.jit, in_shardings=(device, None), out_shardings=device)
    def sharded(x: Any, y: Any) -> Any:
        kept.emit(x)
        return x, y

    @functools.partial(jax.jit, in_shardings=device, out_shardings=(device, None))
    def sharded_as_one(x: Any, y: Any) -> Any:
        kept.emit(x)
        return x, y

    assert plain(jnp.full(1, 1.0)) == 1
    donated = jnp.full(1, 2.0)
    assert static(donated, 3, jnp.ones(1), 4) == 10
    assert donated.is_deleted()
    donated = jnp.full(1, 3.0)
    assert named(donated, n=2) == 6
    assert donated.is_deleted()
    assert Model().method(jnp.full(1, 4.0)) == 4
    assert Model.step(jnp.full(1, 5.0)) == 5
    assert sharded(jnp.full(1, 6.0), jnp.ones(1))[0] == 6
    assert sharded_as_one(jnp.full(1, 7.0), jnp.ones(1))[0] == 7
    assert kept.firsts == [1, 2, 3, 4, 5, 6, 7]


def test_nested_jit_scan_branches_loops_and_vmap(kept: Kept) -> None:
    @jax.jit
    def step(x: Any) -> Any:
        kept.emit(x)
        return x + 1

    @functools.partial(jax.jit, static_argnums=1)
    def many(x: Any, n: int) -> Any:
        x = step(step(x))
        x, _ = jax.lax.scan(lambda x, _: (step(x), None), x, None, length=n)
        x = jax.lax.cond(x[0] > 0, step, lambda x: x, x)
        return jax.lax.fori_loop(0, 2, lambda _, x: step(x), x)

    assert many(jnp.zeros(1), 3) == 8
    assert sorted(kept.firsts) == list(range(8))
    kept.rows.clear()
    assert many(jnp.zeros(1), 4) == 9  # the scan's body is one that JAX has kept
    assert sorted(kept.firsts) == list(range(9))
    kept.rows.clear()
    jax.vmap(step)(jnp.arange(3.0))
    assert sorted(kept.firsts) == [0, 1, 2]


def test_without_jit_and_with_jit_disabled(kept: Kept) -> None:
    def step(x: Any) -> Any:
        kept.emit(x)
        return x + 1

    step(step(jnp.zeros(1)))
    with jax.disable_jit():
        jax.jit(step)(jnp.full(1, 2.0))
    assert kept.firsts == [0, 1, 2]
    assert kept.rows[0][1:] == [1, 0]


def test_looks_like_a_jitted_function(kept: Kept) -> None:
    def step(x: Any, y: int = 2) -> Any:
        """What it does."""
        kept.emit(x)
        return x * y

    ours, plain = jax.jit(step), kept._tracing._norms.__class__
    assert isinstance(ours, plain)
    assert (ours.__name__, ours.__doc__, ours.__wrapped__) == ("step", "What it does.", step)
    x = jnp.ones(1)
    compiled = ours.lower(x).compile()
    assert compiled(x) == ours.trace(x).lower().compile()(x) == ours(x) == 2
    assert ours._cache_size() == 1
    ours.clear_cache()
    assert ours._cache_size() == 0
    assert ours.eval_shape(x).shape == jax.eval_shape(ours, x).shape == (1,)
    assert kept.firsts == [1, 1, 1]
    with pytest.raises(Exception, match="pickle"):
        pickle.dumps(ours)  # as plain JAX


def test_errors_of_the_script_are_its_own(watched: Any) -> None:
    @jax.jit
    def step(x: Any) -> Any:
        return x if x > 0 else -x

    with pytest.raises(jax.errors.TracerBoolConversionError):
        step(jnp.ones(()))
    with pytest.raises(TypeError):
        jax.jit(3)
    with pytest.raises(TypeError, match="scalar"):
        jax.grad(lambda x: x)(jnp.ones(2))
    with pytest.raises(TypeError, match="tuple"):
        jax.value_and_grad(lambda x: x.sum(), has_aux=True)(jnp.ones(2))


def test_a_loss_is_known_inside_and_outside_of_jit(watched: Any) -> None:
    def loss(x: Any) -> Any:
        return jnp.sum(x**2), {"aux": x}

    jax.jit(jax.value_and_grad(loss, has_aux=True))(jnp.full(2, 1.0))
    (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.full(2, 2.0))
    assert (value, aux["aux"].tolist(), gradient.tolist()) == (8, [2, 2], [4, 4])
    gradient, aux = jax.grad(loss, has_aux=True)(jnp.full(2, 3.0))
    assert (aux["aux"].tolist(), gradient.tolist()) == ([3, 3], [6, 6])
    watched.tracing.fetch()
    assert watched.watch.losses.take() == [2, 8, 18]


def test_derivatives_of_derivatives_are_untouched(watched: Any) -> None:
    def f(x: Any) -> Any:
        return jnp.sum(x**3)

    x = jnp.arange(1.0, 3.0)
    assert jax.grad(lambda x: jnp.sum(jax.grad(f)(x) ** 2))(x).tolist() == (36 * x**3).tolist()
    assert jax.jvp(jax.grad(f), (x,), (x,))[1].tolist() == (6 * x * x).tolist()
    assert jax.vmap(jax.value_and_grad(f))(x)[1].tolist() == (3 * x * x).tolist()
    assert jax.jit(jax.hessian(f))(x).tolist() == np.diag(6 * x).tolist()
    watched.tracing.fetch()
    assert watched.watch.losses.take() == [pytest.approx(float(jnp.sum(9 * x**4)))]


def test_an_error_of_a_receiver_is_told_once_and_stops_nothing() -> None:
    from tests.frameworks._kept import KeptSession

    session = KeptSession(None)
    watch = adapter.attach(session)
    tracing = adapter.tracing(session)

    def receive(vector: Any) -> None:
        raise RuntimeError("ours")

    @jax.jit
    def step(x: Any) -> Any:
        tracing.emit(receive, x)
        return x + 1

    x = jnp.zeros(1)
    for _ in range(8):
        x = step(x)
    tracing.fetch()
    assert watch is not None
    watch.detach()
    assert x == 8
    assert len(session.errors) == 1


def test_after_the_watch_has_ended_all_is_as_before(watched: Any) -> None:
    kept = Kept(watched.tracing)
    ours = jax.jit

    @jax.jit
    def step(x: Any) -> Any:
        kept.emit(x)
        return x + 1

    step(jnp.zeros(1))
    watched.watch.detach()
    assert jax.jit is not ours
    assert step(jnp.ones(1)) == 2
    assert kept.firsts == [0]


def test_what_it_relies_on_is_there() -> None:
    assert all(ok for _, ok, _ in adapter.check())


def test_without_the_current_trace_records_leave_by_callbacks(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.frameworks.jax import _trace

    monkeypatch.setattr(_trace, "_FIND", None)

    @jax.jit
    def step(x: Any) -> Any:
        kept._tracing.emit(kept._receive, x)
        return x + 1

    x = jnp.zeros(1)
    for _ in range(5):
        x = step(x)
    assert kept.firsts == [0, 1, 2, 3, 4]
