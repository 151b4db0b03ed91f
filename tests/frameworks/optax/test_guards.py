"""Unchanged scripts under `--with`: policies act on their updates, and change nothing where they need not act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from tests.frameworks.optax import _nets  # noqa: E402

import trimtab.optax  # noqa: E402

GUARD = ("skip=nonfinite", "skip=spike")
Make = Callable[[], Any]


def with_bad(at: int, factor: float) -> Any:
    """The targets of `_nets`, those of one step multiplied by `factor`."""
    y = _nets.Y.copy()
    y[at] *= factor
    return y


def without(at: int) -> tuple[Any, Any]:
    return np.delete(_nets.X, at, axis=0), np.delete(_nets.Y, at, axis=0)


def quietly(watch: Any, policies: tuple[str, ...], *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The weights of a training under these policies, and its session."""
    with watch(policies) as session:
        params = _nets.train(*args, **kwargs)
    assert session.errors == []
    return params, session


MAPS = ("clip=value:1e6", "clip=agc:1e6")  # entry by entry, which is noted at every step


@pytest.mark.parametrize(
    ("policies", "how"),
    [
        *[(GUARD, how) for how in ("jit", "eager", "donated", "nested")],
        ((*GUARD, "clip=global:1e6"), "jit"),
        (MAPS, "jit"),
        (("clip=zclip",), "jit"),
    ],
)
def test_where_no_policy_acts_no_bit_changes(watch: Any, how: str, policies: tuple[str, ...]) -> None:
    make: Make = lambda: optax.adamw(1e-3, weight_decay=0.1)  # noqa: E731
    params, session = quietly(watch, policies, make(), how)
    assert _nets.same(params, _nets.train(make(), how))
    assert [row for row in session.table("guard") if "scale" in row] == []


NAN, LARGE = (float("nan"), "skip=nonfinite"), (1e5, "skip=spike")


@pytest.mark.parametrize(
    ("how", "factor", "by"), [("jit", *NAN), ("jit", *LARGE), ("eager", *LARGE), ("donated", *NAN), ("nested", *LARGE)]
)
@pytest.mark.parametrize("make", [lambda: optax.adamw(1e-2, weight_decay=0.1), lambda: optax.sgd(1e-2, 0.9)])
def test_a_skip_is_as_if_the_batch_had_not_been(watch: Any, how: str, factor: float, by: str, make: Make) -> None:
    params, session = quietly(watch, GUARD, make(), how, y=with_bad(11, factor))
    x, y = without(11)
    assert _nets.same(params, _nets.train(make(), how, steps=_nets.STEPS - 1, x=x, y=y))
    rows = session.table("guard")
    assert [(row["step"], row["skipped"]) for row in rows] == [(11, True)]
    assert rows[0]["policy"].startswith(by)
    assert [row["step"] for row in session.table("steps") if row["skipped"]] == [11]


def test_a_global_clip_is_that_of_optax(watch: Any) -> None:
    params, session = quietly(watch, ("clip=global:0.05,epsilon=0",), optax.sgd(0.1))
    expected = _nets.train(optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(0.1)))
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    steps = session.table("steps")
    assert all(row["grad_norm_raw"] > 0.05 for row in steps)
    assert [row["grad_norm"] for row in steps] == pytest.approx([0.05] * len(steps), rel=1e-5)
    scales = [row["scale"] for row in session.table("guard")]
    assert scales == pytest.approx([0.05 / row["grad_norm_raw"] for row in steps], rel=1e-5)


def test_behind_the_scripts_own_clip_norms_are_those_that_are_applied(watch: Any) -> None:
    with watch(("clip=global:0.05",)) as session:
        _nets.train(optax.chain(optax.clip_by_global_norm(0.02), optax.sgd(0.1)))
    assert [row["grad_norm"] for row in session.table("steps")] == pytest.approx([0.02] * _nets.STEPS, rel=1e-4)


def test_updates_that_the_script_adds_by_hand_are_left_out_too(watch: Any) -> None:
    tx, params = optax.sgd(0.1), _nets.initial()

    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        updates, state = tx.update(jax.grad(_nets.loss_of)(params, x, y), state, params)
        return jax.tree.map(lambda p, u: p + u, params, updates), state

    with watch(GUARD):
        after, _ = jax.jit(step)(params, tx.init(params), _nets.X[0], _nets.Y[0] * jnp.nan)
    assert _nets.same(after, params)


@pytest.mark.parametrize(
    ("policies", "says"),
    [
        (("skip=nonfinite",), ""),
        (("skip=spike", "skip=nonfinite"), "the other policies act"),
        (("skip=spike",), "unguarded"),
    ],
)
def test_in_a_scan_there_is_no_memory(watch: Any, capfd: Any, policies: tuple[str, ...], says: str) -> None:
    """Who needs none acts; who needs one is left out, which is said once."""
    params, session = quietly(watch, policies, optax.sgd(0.1), "scan", y=with_bad(11, float("nan")))
    finite = bool(jnp.isfinite(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])).all())
    assert finite == ("skip=nonfinite" in policies)
    rows = [(row["step"], row["policy"]) for row in session.table("guard")]
    assert rows == ([(11, "skip=nonfinite")] if finite else [])
    said = [line for line in capfd.readouterr().err.splitlines() if "no memory" in line]
    assert len(said) == bool(says)
    assert says in "".join(said)


def test_gradients_that_are_gathered_are_not_guarded(watch: Any, capfd: Any) -> None:
    make: Make = lambda: optax.MultiSteps(optax.sgd(0.1), 2)  # noqa: E731
    params, _ = quietly(watch, ("clip=global:1e-3",), make())
    assert _nets.same(params, _nets.train(make()))
    assert "unguarded" in capfd.readouterr().err


def test_a_transformation_with_policies_of_its_own_keeps_to_these(watch: Any) -> None:
    make: Make = lambda: trimtab.optax.guard(optax.sgd(0.1), "clip=global:1e6")  # noqa: E731
    params, _ = quietly(watch, ("clip=global:1e-3",), make())
    assert _nets.same(params, _nets.train(make()))


def test_a_second_training_remembers_nothing_of_the_first(watch: Any) -> None:
    tx = optax.sgd(1e-3)
    with watch(("skip=spike",)) as session:
        _nets.train(tx)
        _nets.train(tx, y=_nets.Y * 1e4)
    assert session.table("guard") == []


@pytest.mark.parametrize("policy", ["warmup=10", "recover=cut"])
def test_what_acts_on_the_host_is_refused_and_the_training_goes_on(watch: Any, capfd: Any, policy: str) -> None:
    params, _ = quietly(watch, (policy,), optax.sgd(0.1))
    assert _nets.same(params, _nets.train(optax.sgd(0.1)))
    assert "acts on the host" in capfd.readouterr().err


def test_where_xla_would_join_the_choice_with_the_update_no_bit_changes(watch: Any) -> None:
    """A step of AdamW that rounds otherwise if the new weights are chosen by `where`, even behind a barrier."""
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 32, 10)).astype(np.float32)
    y = x[..., 0] * x[..., 1] + x[..., 2]
    first = {"w": random.normal(size=(10, 32)).astype(np.float32) / 3, "b": np.zeros(32, np.float32)}
    last = {"w": random.normal(size=(32, 1)).astype(np.float32) / 6, "b": np.zeros(1, np.float32)}

    def loss(params: Any, x: Any, y: Any) -> Any:
        hidden = jax.nn.relu(x @ params["first"]["w"] + params["first"]["b"])
        return jnp.mean(((hidden @ params["last"]["w"] + params["last"]["b"])[:, 0] - y) ** 2)

    def train() -> Any:
        tx, params = optax.adamw(1e-2), jax.tree.map(jnp.asarray, {"first": first, "last": last})

        @jax.jit
        def step(params: Any, state: Any, x: Any, y: Any) -> Any:
            _, gradients = jax.value_and_grad(loss)(params, x, y)
            updates, state = tx.update(gradients, state, params)
            return optax.apply_updates(params, updates), state

        state = tx.init(params)
        for batch in zip(x, y, strict=True):
            params, state = step(params, state, *batch)
        return params

    with watch(GUARD):
        guarded = train()
    assert _nets.same(guarded, train())
