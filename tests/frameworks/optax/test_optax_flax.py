"""flax's two ways to train: recorded, and to the bit the same, with layers whose gradients XLA fuses in many ways."""

from __future__ import annotations

from typing import Any

import pytest

jax = pytest.importorskip("jax")
pytest.importorskip("flax")
optax = pytest.importorskip("optax")

import numpy as np  # noqa: E402
from flax import linen, nnx  # noqa: E402
from flax.training.train_state import TrainState  # noqa: E402
from tests.frameworks.optax import _nets  # noqa: E402

STEPS = 12
_RANDOM = np.random.default_rng(1)
X = _RANDOM.normal(size=(STEPS, 16, 8, 8, 3)).astype(np.float32)
Y = _RANDOM.integers(0, 5, (STEPS, 16))


class Network(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.LayerNorm()(linen.relu(linen.Conv(8, (3, 3))(x)))
        x = linen.gelu(linen.Dense(32)(x.reshape(len(x), -1)))
        return linen.Dense(5)(linen.RMSNorm()(x))


class Module(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(192, 32, rngs=rngs)
        self.norm = nnx.BatchNorm(32, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.last = nnx.Linear(32, 5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x.reshape(len(x), -1))))))


def with_train_state() -> Any:
    network = Network()
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2))
    params = network.init(jax.random.key(0), X[0])
    state = TrainState.create(apply_fn=network.apply, params=params, tx=tx)

    @jax.jit
    def step(state: Any, x: Any, y: Any) -> Any:
        def loss(params: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(state.apply_fn(params, x), y).mean()

        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    for x, y in zip(X, Y, strict=True):
        state = step(state, x, y)
    return state.params


def with_nnx() -> Any:
    model = Module(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> None:
        def loss(model: Any) -> Any:
            return optax.softmax_cross_entropy(model(x), jax.nn.one_hot(y, 5)).mean()

        _, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)

    for x, y in zip(X, Y, strict=True):
        step(model, optimizer, x, y)
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


@pytest.mark.parametrize("train", [with_train_state, with_nnx])
def test_recorded_and_bit_identical(train: Any, watch: Any) -> None:
    plain = train()
    with watch() as session:
        assert _nets.same(plain, train())
    assert session.errors == []
    steps = session.table("steps")
    assert [row["step"] for row in steps] == list(range(STEPS))
    assert all(row["backwards"] == 1 and np.isfinite(row["loss"]) for row in steps)
    assert session.table("losses")[0]["kind"] == "cross_entropy"
    names = {tensor["name"] for tensor in session.facts["optimizers"][0]["tensors"]}
    assert names & {"params/Dense_0/kernel", "first/kernel"}
    first = [row for row in session.table("tensors") if row["step"] == 0]
    assert all({"weight_norm", "update_norm", "g2_over_v"} <= row.keys() for row in first)
