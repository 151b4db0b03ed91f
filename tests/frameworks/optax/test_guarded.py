"""Policies within `trimtab.optax.guard`: what they do to the updates, to the inner state, and to its own."""

from __future__ import annotations

from typing import Any

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from tests.frameworks.optax import _nets  # noqa: E402

from trimtab.optax import guard  # noqa: E402
from trimtab.policies import PolicyError, parse_policy  # noqa: E402

RANDOM = np.random.default_rng(3)
PARAMS = {"bias": jnp.array([-0.0, 0.5, 2.0]), "kernel": jnp.asarray(RANDOM.normal(size=(4, 3)), jnp.float32)}


def gradients(size: float = 1.0, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda p: jnp.asarray(size * random.normal(size=p.shape), jnp.float32), PARAMS)


def length_of(tree: Any) -> float:
    return float(np.sqrt(sum(np.square(np.asarray(leaf, np.float64)).sum() for leaf in jax.tree.leaves(tree))))


def steps(tx: Any, every: list[Any], how: str = "eager") -> Any:
    """Parameters and state after a step on each of the gradients."""

    def step(carry: Any, grads: Any) -> Any:
        params, state = carry
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    carry = PARAMS, tx.init(PARAMS)
    if how == "scan":
        stacked = jax.tree.map(lambda *each: jnp.stack(each), *every)
        return jax.jit(lambda start: jax.lax.scan(step, start, stacked)[0])(carry)
    step = jax.jit(step) if how == "jit" else step
    for grads in every:
        carry, _ = step(carry, grads)
    return carry


@pytest.mark.parametrize("how", ["eager", "jit", "scan"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_a_skipped_step_leaves_nothing_behind(how: str, bad: float) -> None:
    good = [gradients(seed=i) for i in range(6)]
    spoilt = [*good[:4], jax.tree.map(lambda g: g.at[0].set(bad), good[4]), *good[4:]]
    tx = guard(optax.adamw(1e-2), "skip=nonfinite", "skip=spike")
    params, state = steps(tx, spoilt, how)
    expected_params, expected = steps(tx, good, how)
    assert _nets.same(params, expected_params)
    assert _nets.same((state.inner_state, state.memory), (expected.inner_state, expected.memory))
    by = "skip=spike" if bad == 1e6 else "skip=nonfinite"
    assert {name: int(count) for name, count in state.skipped.items()} == {
        "skip=nonfinite": 0,
        "skip=spike": 0,
        by: 1,
    }


def test_a_skip_keeps_every_bit_of_the_weights() -> None:
    params, _ = steps(guard(optax.sgd(0.1), "skip=nonfinite"), [jax.tree.map(lambda p: p * jnp.nan, PARAMS)])
    assert _nets.same(params, PARAMS)  # -0.0 among them


@pytest.mark.parametrize("how", ["eager", "jit", "scan"])
@pytest.mark.parametrize("policy", ["skip=spike", "clip=global:1e6", "clip=value:1e6", "clip=agc:1e6"])
def test_where_nothing_is_done_no_bit_changes(how: str, policy: str) -> None:
    every = [gradients(seed=i) for i in range(5)]
    assert _nets.same(steps(guard(optax.sgd(0.1), policy), every, how)[0], steps(optax.sgd(0.1), every, how)[0])


@pytest.mark.parametrize("policy", ["skip=spike", "clip=global:1e6", "clip=value:1e6"])
def test_a_jitted_step_of_adam_rounds_as_ever(policy: str) -> None:
    assert _nets.same(_nets.train(optax.adam(1e-2)), _nets.train(guard(optax.adam(1e-2), policy)))


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_global_clip_is_that_of_optax(size: float) -> None:
    tx, grads = guard(optax.identity(), "clip=global:1.0,epsilon=0"), gradients(size)
    updates, state = tx.update(grads, tx.init(PARAMS), PARAMS)
    clip = optax.clip_by_global_norm(1.0)
    expected, _ = clip.update(grads, clip.init(PARAMS))
    for ours, theirs in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_max_ulp(np.asarray(ours), np.asarray(theirs), 4)
    assert int(state.changed["clip=global"]) == (size >= 1)
    assert float(state.grad_norm) == pytest.approx(length_of(grads))


@pytest.mark.parametrize("shape", [(3,), (4, 3), (3, 3, 2, 5)])
def test_agc_is_that_of_optax(shape: tuple[int, ...]) -> None:
    params = {"w": jnp.asarray(RANDOM.normal(size=shape), jnp.float32)}
    grads = {"w": jnp.asarray(RANDOM.normal(size=shape), jnp.float32).at[..., 0].multiply(1e-4)}
    tx, clip = guard(optax.identity(), "clip=agc:0.01"), optax.adaptive_grad_clip(0.01)
    updates, _ = tx.update(grads, tx.init(params), params)
    expected, _ = clip.update(grads, clip.init(params), params)
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-6)


def test_the_inner_transformation_is_one_of_multi_steps() -> None:
    tx = optax.MultiSteps(guard(optax.adam(1e-2), "skip=nonfinite", "clip=global:0.1"), 2)
    bad = jax.tree.map(lambda g: g * jnp.nan, gradients())
    params, state = steps(tx, [gradients(seed=1), gradients(seed=2), bad, gradients(seed=3)], "jit")
    expected, _ = steps(tx, [gradients(seed=1), gradients(seed=2)], "jit")
    assert _nets.same(params, expected)
    inner = state.inner_opt_state
    assert (int(inner.skipped["skip=nonfinite"]), int(inner.changed["clip=global"])) == (1, 1)


def test_in_a_chain_it_guards_what_it_wraps() -> None:
    tx = optax.chain(guard(optax.trace(0.9), "clip=value:0.5"), optax.scale(-1.0))
    params, _ = steps(tx, [gradients(10.0)], "jit")
    expected = jax.tree.map(lambda p, g: p - jnp.clip(g, -0.5, 0.5), PARAMS, gradients(10.0))
    assert _nets.same(params, expected)


def test_gradients_in_bfloat16_keep_their_dtype() -> None:
    tx = guard(optax.identity(), "clip=global:1.0", "skip=nonfinite")
    grads = jax.tree.map(lambda g: g.astype(jnp.bfloat16), gradients(100.0))
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
    assert length_of(updates) == pytest.approx(1.0, rel=1e-2)


def test_complex_gradients_are_scaled_whole() -> None:
    params = {"w": jnp.array([3.0 + 4.0j])}
    tx = guard(optax.identity(), "clip=global:1.0,epsilon=0")
    updates, _ = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [0.6 + 0.8j], rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.floats(-20, 20), st.integers(0, 100))
def test_no_update_is_longer_than_the_bound(log_size: float, seed: int) -> None:
    tx = guard(optax.identity(), "clip=global:1.0")
    grads = gradients(float(np.exp(log_size)), seed)
    updates, state = tx.update(grads, tx.init(PARAMS), PARAMS)
    norm, length = float(state.grad_norm), length_of(updates)
    assert length == pytest.approx(min(norm, 1.0), rel=1e-5)


def test_what_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(PolicyError, match="max_norm must be"):
        guard(optax.sgd(0.1), "clip=global:-1")
    with pytest.raises(PolicyError, match="no policy is called 'clip'"):
        guard(optax.sgd(0.1), "clip")
    with pytest.raises(PolicyError, match="put skip=spike first"):
        guard(optax.sgd(0.1), parse_policy("clip=global"), "skip=spike")


def test_agc_without_parameters_says_what_it_needs() -> None:
    tx = guard(optax.sgd(0.1), "clip=agc")
    with pytest.raises(Exception, match="needs the parameters"):
        tx.update(gradients(), tx.init(PARAMS))
