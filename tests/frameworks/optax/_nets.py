"""A small network in NumPy-like JAX and trainings of it, with the same gradients by hand in NumPy."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

DEPTH, WIDTH, BATCH, STEPS = 3, 8, 16, 20
_RANDOM = np.random.default_rng(1)
X = _RANDOM.normal(size=(STEPS, BATCH, WIDTH)).astype(np.float32)
Y = _RANDOM.normal(size=(STEPS, BATCH, WIDTH)).astype(np.float32)


def initial() -> dict[str, dict[str, Any]]:
    random = np.random.default_rng(0)
    kernels = [random.normal(size=(WIDTH, WIDTH)).astype(np.float32) * 0.3 for _ in range(DEPTH)]
    return {f"d{i}": {"kernel": jnp.asarray(k), "bias": jnp.zeros(WIDTH)} for i, k in enumerate(kernels)}


def network(params: Any, x: Any) -> Any:
    for i in range(DEPTH):
        x = jnp.tanh(x @ params[f"d{i}"]["kernel"] + params[f"d{i}"]["bias"])
    return x


def loss_of(params: Any, x: Any, y: Any) -> Any:
    return optax.squared_error(network(params, x), y).mean()


def numpy_gradients(params: Any, x: Any, y: Any) -> dict[str, Any]:
    """By hand, in double precision: back-propagation of `loss_of`, by the tensor's name."""
    outputs = [np.asarray(x, np.float64)]
    for i in range(DEPTH):
        layer = params[f"d{i}"]
        outputs.append(np.tanh(outputs[-1] @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"])))
    back = 2 * (outputs[-1] - y) / y.size
    found = {}
    for i in reversed(range(DEPTH)):
        back = back * (1 - outputs[i + 1] ** 2)
        found[f"d{i}/bias"], found[f"d{i}/kernel"] = back.sum(0), outputs[i].T @ back
        back = back @ np.asarray(params[f"d{i}"]["kernel"], np.float64).T
    return found


def train(tx: Any, how: str = "jit", steps: int = STEPS, x: Any = X, y: Any = Y, kept: list[Any] | None = None) -> Any:
    """The weights after `steps`; those before each step go to `kept`."""
    params = initial()
    state = tx.init(params)

    def step(params: Any, state: Any, x: Any, y: Any) -> Any:
        if how == "grad":
            gradients = jax.grad(loss_of)(params, x, y)
        else:
            _, gradients = jax.value_and_grad(loss_of)(params, x, y)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    if how == "scan":
        run = jax.jit(lambda carry: jax.lax.scan(lambda c, b: (step(*c, *b), None), carry, (x[:steps], y[:steps]))[0])
        return run((params, state))[0]
    if how == "donated":
        step = functools.partial(jax.jit, donate_argnums=(0, 1))(step)
    elif how == "nested":
        step = jax.jit(jax.jit(step))
    elif how != "eager":
        step = jax.jit(step)
    for i in range(steps):
        if kept is not None:
            kept.append(jax.tree.map(np.array, params))
        params, state = step(params, state, x[i], y[i])
    return params


def same(a: Any, b: Any) -> bool:
    """To the bit."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(p).tobytes() == np.asarray(q).tobytes() for p, q in pairs)
