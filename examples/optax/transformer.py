"""A small transformer in flax nnx that learns to write sums in words, character by character, with optax.

The text is generated: "forty-two plus nine is fifty-one." and so on. A model that knows only how frequent
each character is has a loss of 2.79 nats; which numbers come cannot be guessed, their sum can be worked out.

python examples/optax/transformer.py
... --norm none --init normal:0.3 --optimizer sgd --lr 0.1       blows up
... --no-skip --norm none --depth 8                              vanishes
... --optimizer sgd --lr 1e-6                                    stalls
"""

import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from common import ACTIVATIONS, flags, initializer, make_optimizer, make_parser
from data import make_text

CONTEXT = 48
HEADS = 4


class Block(nnx.Module):
    """Attention and an MLP, each normalised before and added to its input (pre-norm)."""

    def __init__(self, args, rngs):
        init = initializer(args.init)
        self.norms = nnx.List(make_norm(args, rngs) for _ in range(2))
        self.attention = nnx.MultiHeadAttention(HEADS, args.width, kernel_init=init, decode=False, rngs=rngs)
        self.wide = nnx.Linear(args.width, 4 * args.width, kernel_init=init, rngs=rngs)
        self.narrow = nnx.Linear(4 * args.width, args.width, kernel_init=init, rngs=rngs)
        self.activation = ACTIVATIONS[args.activation]
        self.skip = not args.no_skip

    def __call__(self, x):
        y = self.attention(self.norms[0](x), mask=nnx.make_causal_mask(x[..., 0]))
        x = x + y if self.skip else y
        y = self.narrow(self.activation(self.wide(self.norms[1](x))))
        return x + y if self.skip else y


class Transformer(nnx.Module):
    def __init__(self, vocabulary, args, rngs):
        init = initializer(args.init)
        self.tokens = nnx.Embed(vocabulary, args.width, rngs=rngs)
        self.positions = nnx.Embed(CONTEXT, args.width, rngs=rngs)
        self.blocks = nnx.List(Block(args, rngs) for _ in range(args.depth))
        self.norm = make_norm(args, rngs)
        self.head = nnx.Linear(args.width, vocabulary, kernel_init=init, rngs=rngs)

    def __call__(self, ids):
        x = self.tokens(ids) + self.positions(jnp.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def make_norm(args, rngs):
    return nnx.LayerNorm(args.width, rngs=rngs) if args.norm == "layer" else lambda x: x


def loss_fn(model, windows):
    """Cross-entropy of each next character, and the logits (B, T, vocabulary)."""
    logits = model(windows[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]).mean(), logits


def step(model, optimizer, windows):
    (loss, _), gradients = nnx.value_and_grad(loss_fn, has_aux=True)(model, windows)
    optimizer.update(model, gradients)
    return loss


def validate(model, text):
    """Mean loss and accuracy over the whole validation text, in windows that do not overlap."""
    windows = np.lib.stride_tricks.sliding_window_view(text, CONTEXT + 1)[::CONTEXT]
    loss, logits = loss_fn(model, windows)
    return loss, jnp.mean(logits.argmax(axis=2) == windows[:, 1:])


def get_args():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adamw", lr=3e-3, activation="gelu", init="default", norm="layer",
        norms=["none", "layer"], depth=2, width=48, batch_size=32, val_share=0.1,
    )  # fmt: skip
    parser.add_argument("--steps", type=flags.count, default=300, help="optimizer steps; ten lines are printed")
    parser.add_argument("--no-skip", action="store_true", help="leave out the skip connections")
    args = parser.parse_args()
    if args.width % HEADS:
        parser.error(f"--width must be a multiple of {HEADS}, the number of heads, got {args.width}")
    return args


def main():
    args = get_args()
    rng = np.random.default_rng(args.seed)
    train_text, val_text = make_text(args.val_share, args.seed)
    characters = sorted(set(train_text + val_text))
    ids = {c: i for i, c in enumerate(characters)}
    train_ids, val_ids = (np.array([ids[c] for c in text], dtype="int32") for text in (train_text, val_text))

    model = Transformer(len(characters), args, nnx.Rngs(args.seed))
    optimizer = nnx.Optimizer(model, make_optimizer(args), wrt=nnx.Param)
    train_step = nnx.jit(step) if args.jit == "on" else step

    every, losses = max(1, args.steps // 10), []
    for done in range(1, args.steps + 1):
        starts = rng.integers(len(train_ids) - CONTEXT, size=args.batch_size)
        losses.append(train_step(model, optimizer, train_ids[starts[:, None] + np.arange(CONTEXT + 1)]))
        if done % every == 0 or done == args.steps:
            val_loss, val_accuracy = validate(model, val_ids)
            print(
                f"step {done:5d}  train loss {np.mean(losses):.4f}"
                f"  val loss {val_loss:.4f}  val accuracy {val_accuracy:.4f}",
                flush=True,
            )
            losses = []
    if args.save:
        np.savez(args.save, **{".".join(map(str, path)): w for path, w in nnx.to_flat_state(nnx.state(model))})


if __name__ == "__main__":
    main()
