"""A multi-layer perceptron in flax linen that reads handwritten digits, with optax and a step under jit.

python examples/optax/mlp.py
... --init normal:1 --depth 10 --optimizer sgd --lr 0.01       blows up
... --activation sigmoid --depth 10                            vanishes
... --init constant:0.01                                       stalls
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import serialization

from common import ACTIVATIONS, flags, initializer, make_optimizer, make_parser
from data import digit_images, for_training


class MLP(nn.Module):
    depth: int
    width: int
    activation: Callable
    norm: str
    kernel_init: Callable

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for _ in range(self.depth):
            x = nn.Dense(self.width, kernel_init=self.kernel_init)(x)
            if self.norm == "layer":
                x = nn.LayerNorm()(x)
            x = self.activation(x)
        return nn.Dense(10, kernel_init=self.kernel_init)(x)


def make_step(model, optimizer):
    """One step of the optimizer on one batch: (weights, state, images, labels) -> (weights, state, loss)."""

    def loss_fn(params, images, labels):
        logits = model.apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(params, state, images, labels):
        loss, gradients = jax.value_and_grad(loss_fn)(params, images, labels)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    return step


def evaluate(model, params, images, labels):
    logits = model.apply(params, images)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, jnp.mean(logits.argmax(axis=1) == labels)


def main():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adamw", lr=1e-3, activation="relu", init="he", norm="none",
        norms=["none", "layer"], depth=3, width=128, batch_size=64, val_share=0.2,
    )  # fmt: skip
    parser.add_argument("--epochs", type=flags.count, default=20, help="passes over the training images")
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    images, labels = digit_images(rng)
    n = for_training(len(labels), args.val_share)

    model = MLP(args.depth, args.width, ACTIVATIONS[args.activation], args.norm, initializer(args.init))
    params = model.init(jax.random.key(args.seed), images[:1])
    optimizer = make_optimizer(args)
    state = optimizer.init(params)
    step = make_step(model, optimizer)
    if args.jit == "on":
        step = jax.jit(step)

    batch_size = min(args.batch_size, n)
    for epoch in range(1, args.epochs + 1):
        losses = []
        for batch in rng.permutation(n)[: n - n % batch_size].reshape(-1, batch_size):
            params, state, loss = step(params, state, images[batch], labels[batch])
            losses.append(loss)
        val_loss, val_accuracy = evaluate(model, params, images[n:], labels[n:])
        print(
            f"epoch {epoch:3d}  train loss {np.mean(losses):.4f}"
            f"  val loss {val_loss:.4f}  val accuracy {val_accuracy:.4f}",
            flush=True,
        )
    if args.save:
        args.save.write_bytes(serialization.to_bytes(params))


if __name__ == "__main__":
    main()
