"""A small transformer that learns to write sums in words, character by character, in a training loop of its own.

The text is generated: "forty-two plus nine is fifty-one." and so on. A model that knows only how frequent
each character is has a loss of 2.79 nats; which numbers come cannot be guessed, their sum can be worked out.

KERAS_BACKEND=jax python examples/keras/transformer.py
... --norm none --init normal:0.3 --optimizer sgd --lr 0.1       blows up
... --no-skip --norm none --depth 8                              vanishes
... --optimizer sgd --lr 1e-6                                    stalls
"""

import keras
import numpy as np
from keras import layers, ops

from common import flags, initializer, make_optimizer, make_parser, parse
from data import make_text

CONTEXT = 48
HEADS = 4

# --- model --------------------------------------------------------------------------------------


class Positions(layers.Layer):
    """Adds a learned vector for each place in the sequence."""

    def build(self, shape):
        self.vectors = self.add_weight(shape=shape[1:], initializer="uniform")

    def call(self, x):
        return x + self.vectors


def block(x, args):
    """Attention and an MLP, each normalised before and added to its input (pre-norm)."""
    init = initializer(args.init)
    y = normalised(x, args)
    y = layers.MultiHeadAttention(HEADS, args.width // HEADS, kernel_initializer=init)(y, y, use_causal_mask=True)
    x = y if args.no_skip else x + y
    y = layers.Dense(4 * args.width, args.activation, kernel_initializer=init)(normalised(x, args))
    y = layers.Dense(args.width, kernel_initializer=init)(y)
    return y if args.no_skip else x + y


def normalised(x, args):
    return layers.LayerNormalization()(x) if args.norm == "layer" else x


def make_transformer(vocabulary, args):
    ids = keras.Input((CONTEXT,), dtype="int32")
    x = layers.Embedding(vocabulary, args.width, initializer(args.init, default="uniform"))(ids)
    x = Positions()(x)
    for _ in range(args.depth):
        x = block(x, args)
    return keras.Model(ids, layers.Dense(vocabulary, kernel_initializer=initializer(args.init))(normalised(x, args)))


# --- one step of training, on each backend --------------------------------------------------------


def tensorflow_step(model, loss_fn, optimizer, jit):
    import tensorflow as tf

    def step(inputs, targets):
        with tf.GradientTape() as tape:
            loss = loss_fn(targets, model(inputs, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step if jit == "off" else tf.function(step, jit_compile=jit == "on")


def jax_step(model, loss_fn, optimizer, jit):
    import jax

    def loss_of(trainable, rest, inputs, targets):
        logits, rest = model.stateless_call(trainable, rest, inputs, training=True)
        return loss_fn(targets, logits), rest

    def update(trainable, rest, slots, inputs, targets):
        (loss, rest), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, rest, inputs, targets)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return loss, (trainable, rest, slots)

    if jit != "off":
        update = jax.jit(update)
    optimizer.build(model.trainable_variables)
    variables = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)

    def step(inputs, targets):
        loss, state = update(*([v.value for v in group] for group in variables), inputs, targets)
        for group, values in zip(variables, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        return loss

    return step


def torch_step(model, loss_fn, optimizer, jit):
    import torch

    def step(inputs, targets):
        model.zero_grad()
        loss = loss_fn(targets, model(inputs, training=True))
        loss.backward()
        variables = model.trainable_variables
        with torch.no_grad():
            optimizer.apply([v.value.grad for v in variables], variables)
        return loss.detach()

    return torch.compile(step) if jit == "on" else step


STEPS = {"tensorflow": tensorflow_step, "jax": jax_step, "torch": torch_step}

# --- training -------------------------------------------------------------------------------------


def train(step, text, args, steps, rng):
    losses = []
    for _ in range(steps):
        starts = rng.integers(len(text) - CONTEXT, size=args.batch_size)
        windows = text[starts[:, None] + np.arange(CONTEXT + 1)]
        losses.append(float(step(windows[:, :-1], windows[:, 1:])))
    return np.mean(losses)


def validate(model, loss_fn, text):
    """Mean loss and accuracy over the whole validation text, in windows that do not overlap."""
    windows = np.lib.stride_tricks.sliding_window_view(text, CONTEXT + 1)[::CONTEXT]
    targets = windows[:, 1:]
    logits = model.predict(windows[:, :-1], batch_size=128, verbose=0)
    return float(loss_fn(targets, ops.convert_to_tensor(logits))), np.mean(logits.argmax(axis=2) == targets)


def get_args():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adamw", lr=3e-3, activation="gelu", init="default", norm="layer",
        norms=["none", "layer"], depth=2, width=48, batch_size=32, val_share=0.1,
    )  # fmt: skip
    parser.add_argument("--steps", type=flags.count, default=300, help="optimizer steps; ten lines are printed")
    parser.add_argument("--no-skip", action="store_true", help="leave out the skip connections")
    args = parse(parser)
    if args.width % HEADS:
        parser.error(f"--width must be a multiple of {HEADS}, the number of heads, got {args.width}")
    return args


def main():
    args = get_args()
    keras.utils.set_random_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    train_text, val_text = make_text(args.val_share, args.seed)
    characters = sorted(set(train_text + val_text))
    ids = {c: i for i, c in enumerate(characters)}
    train_ids, val_ids = (np.array([ids[c] for c in text], dtype="int32") for text in (train_text, val_text))

    model = make_transformer(len(characters), args)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    step = STEPS[keras.backend.backend()](model, loss_fn, make_optimizer(args), args.jit)
    every = max(1, args.steps // 10)
    for done in range(0, args.steps, every):
        steps = min(every, args.steps - done)
        train_loss = train(step, train_ids, args, steps, rng)
        val_loss, val_accuracy = validate(model, loss_fn, val_ids)
        print(
            f"step {done + steps:5d}  train loss {train_loss:.4f}"
            f"  val loss {val_loss:.4f}  val accuracy {val_accuracy:.4f}",
            flush=True,
        )
    if args.save:
        model.save(args.save)


if __name__ == "__main__":
    main()
