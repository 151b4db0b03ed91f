"""Every update is recorded once, with the right numbers, and no bit of the training changes."""

from __future__ import annotations

from typing import Any

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from tests.frameworks.optax import _nets  # noqa: E402

KERNELS = {f"d{i}": {"kernel": True, "bias": False} for i in range(_nets.DEPTH)}
DECAY = optax.cosine_decay_schedule(0.1, 30)

CASES = {
    "adam": (lambda: optax.adam(1e-2), "jit"),
    "clip and adamw": (lambda: optax.chain(optax.clip_by_global_norm(0.05), optax.adamw(1e-2)), "jit"),
    "clip by value": (lambda: optax.chain(optax.clip(0.01), optax.sgd(0.1)), "jit"),
    "adaptive clip": (lambda: optax.chain(optax.adaptive_grad_clip(0.01), optax.lion(1e-3)), "jit"),
    "sgd": (lambda: optax.sgd(0.1, momentum=0.9), "donated"),
    "schedule": (lambda: optax.adamw(DECAY), "jit"),
    "injected": (lambda: optax.inject_hyperparams(optax.adam)(learning_rate=DECAY), "jit"),
    "apply if finite": (lambda: optax.apply_if_finite(optax.adam(1e-2), 3), "jit"),
    "masked": (lambda: optax.masked(optax.sgd(0.1), KERNELS), "jit"),
    "partition": (lambda: optax.partition({True: optax.adam(1e-3), False: optax.sgd(0.1)}, KERNELS), "jit"),
    "eager": (lambda: optax.adam(1e-2), "eager"),
    "scan": (lambda: optax.adam(1e-2), "scan"),
    "nested": (lambda: optax.rmsprop(1e-3), "nested"),
    "grad alone": (lambda: optax.adam(1e-2), "grad"),
}


@pytest.mark.parametrize("case", CASES)
def test_recorded_once_and_bit_identical(case: str, watch: Any) -> None:
    make, how = CASES[case]
    plain = _nets.train(make(), how)
    with watch() as session:
        watched = _nets.train(make(), how)
    assert session.errors == []
    assert _nets.same(plain, watched)
    steps = session.table("steps")
    assert [row["step"] for row in steps] == list(range(_nets.STEPS))
    assert all(np.isfinite(row["loss"]) and row["lr"] > 0 and row["backwards"] == 1 for row in steps)


@pytest.mark.parametrize("how", ["jit", "eager", "scan", "donated"])
def test_norms_equal_those_of_gradients_by_hand(how: str, watch: Any) -> None:
    kept: list[Any] = []
    _nets.train(optax.adam(1e-2), "jit", kept=kept)
    with watch() as session:
        _nets.train(optax.adam(1e-2), how)
    rows = session.table("tensors")
    assert len(rows) == _nets.STEPS * 2 * _nets.DEPTH
    for i, params in enumerate(kept):
        expected = _nets.numpy_gradients(params, _nets.X[i], _nets.Y[i])
        for row in (row for row in rows if row["step"] == i):
            assert row["grad_norm"] == pytest.approx(np.linalg.norm(expected[row["tensor"]]), rel=1e-5)


@pytest.mark.parametrize("how", ["jit", "eager", "donated"])
def test_sampled_columns_equal_those_by_hand(how: str, watch: Any) -> None:
    kept: list[Any] = []
    _nets.train(optax.adam(1e-2), "jit", kept=kept)
    with watch() as session:
        _nets.train(optax.adam(1e-2), how)
    sampled = [row["step"] for row in session.table("steps") if row["sampled"]]
    assert sampled[:2] == [0, 1]
    for row in session.table("tensors"):
        if row["step"] not in sampled:
            assert "weight_norm" not in row
            continue
        layer, name = row["tensor"].split("/")
        before, after = (kept[i][layer][name].astype(np.float64) for i in (row["step"], row["step"] + 1))
        assert row["weight_norm"] == pytest.approx(np.linalg.norm(before), rel=1e-5)
        assert row["update_norm"] == pytest.approx(np.linalg.norm(after - before), rel=1e-4)
        assert ("twin_units" in row) == (row["step"] == 0 and name == "kernel")
        if row["step"] == 0:
            assert row["g2_over_v"] == pytest.approx(1, rel=1e-3)


def test_g2_over_v_by_hand(watch: Any) -> None:
    kept: list[Any] = []
    with watch() as session:
        _nets.train(optax.adam(1e-2), kept=kept)
    moment = dict.fromkeys(_nets.numpy_gradients(kept[0], _nets.X[0], _nets.Y[0]), 0.0)
    rows = {(row["step"], row["tensor"]): row for row in session.table("tensors")}
    for i in range(2):
        for name, gradient in _nets.numpy_gradients(kept[i], _nets.X[i], _nets.Y[i]).items():
            moment[name] = 0.999 * moment[name] + 0.001 * gradient**2
            ratio = np.sqrt(np.mean(gradient**2 / (moment[name] / (1 - 0.999 ** (i + 1)))))
            assert rows[i, name]["g2_over_v"] == pytest.approx(ratio, rel=1e-3)


def test_a_clip_gives_both_norms(session: Any) -> None:
    _nets.train(optax.chain(optax.clip_by_global_norm(0.05), optax.sgd(0.1)), steps=5)
    session.finish()
    for row in session.table("steps"):
        assert row["grad_norm"] == pytest.approx(0.05, rel=1e-5)
        assert row["grad_norm_raw"] > 0.2
    raw = _nets.numpy_gradients(_nets.initial(), _nets.X[0], _nets.Y[0])
    total = np.sqrt(sum((g**2).sum() for g in raw.values()))
    for row in session.table("tensors")[: 2 * _nets.DEPTH]:
        norm = np.linalg.norm(raw[row["tensor"]])
        assert row["grad_norm_raw"] == pytest.approx(norm, rel=1e-5)
        assert row["grad_norm"] == pytest.approx(norm * 0.05 / total, rel=1e-5)


def test_a_clip_by_value_gives_both_norms(session: Any) -> None:
    _nets.train(optax.chain(optax.clip(0.01), optax.sgd(0.1)), steps=1)
    session.finish()
    raw = _nets.numpy_gradients(_nets.initial(), _nets.X[0], _nets.Y[0])
    for row in session.table("tensors"):
        assert row["grad_norm"] == pytest.approx(np.linalg.norm(np.clip(raw[row["tensor"]], -0.01, 0.01)), rel=1e-5)
        assert row["grad_norm_raw"] == pytest.approx(np.linalg.norm(raw[row["tensor"]]), rel=1e-5)


@pytest.mark.parametrize("as_transformation", [False, True])
def test_small_steps_that_apply_nothing_are_no_steps(as_transformation: bool, watch: Any) -> None:
    def make() -> Any:
        steps = optax.MultiSteps(optax.adam(1e-2), 4)
        return steps.gradient_transformation() if as_transformation else steps

    kept: list[Any] = []
    plain = _nets.train(make(), kept=kept)
    with watch() as session:
        assert _nets.same(plain, _nets.train(make()))
    steps = session.table("steps")
    assert [row["step"] for row in steps] == list(range(_nets.STEPS // 4))
    assert all(row["backwards"] == 4 for row in steps)
    gradients = [_nets.numpy_gradients(kept[0], _nets.X[i], _nets.Y[i]) for i in range(4)]
    for row in session.table("tensors")[: 2 * _nets.DEPTH]:
        mean = np.mean([gradient[row["tensor"]] for gradient in gradients], axis=0)
        assert row["grad_norm"] == pytest.approx(np.linalg.norm(mean), rel=1e-5)
    expected = np.mean([float(_nets.loss_of(kept[0], _nets.X[i], _nets.Y[i])) for i in range(4)])
    assert steps[0]["loss"] == pytest.approx(expected, rel=1e-6)


def test_learning_rates(watch: Any) -> None:
    def rates(tx: Any, how: str = "jit") -> list[float]:
        with watch() as session:
            _nets.train(tx, how, steps=4)
        return [row["lr"] for row in session.table("steps")]

    scheduled = [float(DECAY(i)) for i in range(4)]
    assert rates(optax.adam(DECAY)) == pytest.approx(scheduled)
    assert rates(optax.inject_hyperparams(optax.sgd)(learning_rate=DECAY), "eager") == pytest.approx(scheduled)
    assert rates(optax.chain(optax.scale(7.0), optax.scale_by_adam(), optax.scale(-0.5))) == pytest.approx([0.5] * 4)
    by_hand = optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(DECAY), optax.scale(-1.0))
    assert rates(by_hand) == pytest.approx(scheduled)


@pytest.mark.parametrize("how", ["jit", "scan"])
def test_non_finite_gradients(how: str, watch: Any) -> None:
    x = _nets.X.copy()
    x[3, 0, 0] = np.nan
    with watch() as session:
        _nets.train(optax.apply_if_finite(optax.sgd(0.1), 5), how, steps=6, x=x)
    steps = session.table("steps")
    assert [row["nonfinite"] for row in steps] == [0, 0, 0, 2 * _nets.DEPTH, 0, 0]
    assert [row["skipped"] for row in steps] == [False] * 3 + [True] + [False] * 2
    (event,) = [data for kind, data in session.events if kind == "nonfinite"]
    assert event["tensors"][0] == "d2/kernel"


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_huge_and_tiny_gradients_are_finite_and_not_zero(size: float, session: Any) -> None:
    tx = optax.sgd(0.1)
    params = {"w": jnp.ones((5, 100))}
    state = tx.init(params)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        gradients = jax.grad(lambda p: jnp.sum(p["w"]) * size)(params)
        return tx.update(gradients, state, params)

    step(params, state)
    session.finish()
    (row,) = session.table("tensors")
    assert row["grad_norm"] == pytest.approx(size * np.sqrt(500), rel=1e-5)
    assert session.table("steps")[0]["nonfinite"] == 0


def test_two_optimizers_of_one_step(session: Any) -> None:
    first, second = optax.adam(1e-2), optax.sgd(0.1)
    params = {"a": jnp.ones(3)}, {"b": jnp.ones(4)}
    states = first.init(params[0]), second.init(params[1])

    @jax.jit
    def step(params: Any, states: Any) -> Any:
        _, a = jax.value_and_grad(lambda p: jnp.sum(p["a"] ** 2))(params[0])
        updates_a, state_a = first.update(a, states[0], params[0])
        _, b = jax.value_and_grad(lambda p: jnp.sum(p["b"] ** 3))(params[1])
        updates_b, state_b = second.update(b, states[1], params[1])
        applied = [optax.apply_updates(p, u) for p, u in zip(params, (updates_a, updates_b), strict=True)]
        return applied, (state_a, state_b)

    for _ in range(3):
        params, states = step(params, states)
    session.finish()
    steps = session.table("steps")
    assert sorted((row["optimizer"], row["step"]) for row in steps) == [(i, j) for i in range(2) for j in range(3)]
    assert {row["optimizer"]: row["loss"] for row in steps if row["step"] == 0} == {0: 3, 1: 4}
    assert [info["class"] for info in session.facts["optimizers"]] == ["optax.adam", "optax.sgd"]


def test_gradients_and_update_in_jitted_functions_of_their_own(session: Any) -> None:
    tx = optax.sgd(0.1)
    params = _nets.initial()
    state = tx.init(params)
    gradient, update = jax.jit(jax.value_and_grad(_nets.loss_of)), jax.jit(tx.update)
    for i in range(4):
        loss, gradients = gradient(params, _nets.X[i], _nets.Y[i])
        updates, state = update(gradients, state)
        params = optax.apply_updates(params, updates)
    session.finish()
    steps = session.table("steps")
    assert len(steps) == 4
    assert steps[3]["loss"] == pytest.approx(float(loss), rel=1e-6)


def test_a_second_training_is_another_optimizer_and_a_transformation_made_anew_is_not(session: Any) -> None:
    tx = optax.adam(1e-2)
    _nets.train(tx, steps=3)
    _nets.train(tx, steps=3)
    params = {"w": jnp.ones(3)}
    state = optax.sgd(0.1).init(params)
    for epoch in range(3):
        tx = optax.sgd(0.1 / (epoch + 1))
        _, state = jax.jit(tx.update)({"w": jnp.ones(3)}, state)
    session.finish()
    counts = [sum(row["optimizer"] == i for row in session.table("steps")) for i in range(4)]
    assert counts == [3, 3, 3, 0]


def one_step(session: Any, loss: Any, weights: Any) -> Any:
    """The row of `losses` of a jitted step from `weights` of shape (4, 3); `loss` is given the logits of 12 rows."""
    tx = optax.sgd(0.1)
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        _, gradients = jax.value_and_grad(lambda p: loss(x @ p["w"]))(params)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    params = {"w": weights}
    step(params, tx.init(params))
    session.finish()
    (row,) = session.table("losses")
    return row


def test_outputs_and_targets_of_losses(session: Any) -> None:
    labels = np.arange(12) % 3
    each = optax.softmax_cross_entropy_with_integer_labels
    row = one_step(session, lambda logits: each(logits, labels).mean(), jnp.zeros((4, 3)))
    assert (row["kind"], row["rows"], row["classes"], row["labels_seen"]) == ("cross_entropy", 12, 3, 3)
    assert row["chance"] == pytest.approx(np.log(3), rel=1e-3)
    assert row["accuracy"] == pytest.approx(1 / 3)
    assert session.table("steps")[0]["loss"] == pytest.approx(np.log(3), rel=1e-6)


MEANS = {
    "of all": lambda each, counts: each.mean(),
    "others count 0": lambda each, counts: jnp.where(counts, each, 0).mean(),
    "of those that count": lambda each, counts: jnp.where(counts, each, 0).sum() / counts.sum(),
}


@pytest.mark.parametrize("starts_at_zero", [False, True])
@pytest.mark.parametrize("mean", MEANS)
def test_labels_of_no_class_count_where_the_loss_is_the_mean_of_all_rows(
    session: Any, mean: str, starts_at_zero: bool
) -> None:
    """Of weights that are 0 every row's loss is the same, so that its mean tells nothing of which rows were counted."""
    labels = np.arange(12) % 4 - 1
    weights = np.zeros((4, 3)) if starts_at_zero else np.random.default_rng(1).normal(size=(4, 3))

    def loss(logits: Any) -> Any:
        return MEANS[mean](optax.softmax_cross_entropy_with_integer_labels(logits, labels), labels >= 0)

    row = one_step(session, loss, jnp.asarray(weights, jnp.float32))
    assert row["target_min"] == -1
    assert row.get("labels_beyond") == (0.25 if mean == "of all" and not starts_at_zero else None)


def test_half_a_squared_error_has_half_the_chance(session: Any) -> None:
    tx = optax.sgd(0.1)
    y = np.arange(10, dtype=np.float32)[:, None]

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        gradients = jax.grad(lambda p: optax.l2_loss(jnp.ones((10, 1)) * p, y).mean())(params)
        return tx.update(gradients, state, params)

    params = jnp.zeros(())
    step(params, tx.init(params))
    session.finish()
    (row,) = session.table("losses")
    assert (row["kind"], row["rows"]) == ("mse", 10)
    assert row["chance"] == pytest.approx(y.var() / 2, rel=1e-6)
    assert session.table("tensors")[0]["tensor"] == "params"


def test_an_error_of_ours_does_not_stop_the_training(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from trimtab.frameworks.optax import _watch

    def fail(*args: Any) -> Any:
        raise RuntimeError("ours")

    plain = _nets.train(optax.adam(1e-2), steps=4)
    monkeypatch.setattr(_watch, "measure", fail)
    with watch() as session:
        assert _nets.same(plain, _nets.train(optax.adam(1e-2), steps=4))
    assert len(session.errors) == 1
    assert session.table("steps") == []


def test_what_is_no_optimizer_is_not_recorded(session: Any) -> None:
    average, params = optax.ema(0.9), {"w": jnp.ones(3)}
    average.update(params, average.init(params))
    clip = optax.clip(1.0)
    clip.update(params, clip.init(params))
    session.finish()
    assert session.table("steps") == []


def test_no_tracer_is_left_behind(watch: Any) -> None:
    with jax.checking_leaks(), watch() as session:
        _nets.train(optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)), steps=3)
    assert len(session.table("steps")) == 3
