"""The same training in JAX with optax."""

import sys

import jax
import jax.numpy as jnp
import optax

from data import make

lr, scale = map(float, sys.argv[1:])
x, y, w = make(scale)
params = {
    "Dense_0": {"kernel": jnp.array(w[0]), "bias": jnp.zeros(16)},
    "Dense_1": {"kernel": jnp.array(w[1]), "bias": jnp.zeros(3)},
}
tx = optax.sgd(lr, momentum=0.9)
state = tx.init(params)


def loss_fn(params, a, b):
    h = jax.nn.relu(a @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    logits = h @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, b).mean()


@jax.jit
def step(params, state, a, b):
    loss, grads = jax.value_and_grad(loss_fn)(params, a, b)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), state, loss


for i in range(100):
    params, state, loss = step(params, state, x[32 * i : 32 * i + 32], y[32 * i : 32 * i + 32])
