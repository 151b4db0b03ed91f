"""What the examples in optax and flax share: the tables behind the flags."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

sys.path.append(str(Path(__file__).resolve().parents[1]))
import flags

ACTIVATIONS = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "gelu": jax.nn.gelu,
}

OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda lr: optax.sgd(lr, momentum=0.9),
    "nesterov": lambda lr: optax.sgd(lr, momentum=0.9, nesterov=True),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "nadam": optax.nadam,
    "radam": optax.radam,
    "adamax": optax.adamax,
    "amsgrad": optax.amsgrad,
    "adagrad": optax.adagrad,
    "adadelta": optax.adadelta,
    "rmsprop": optax.rmsprop,
}

INITIALIZERS = {
    "he": jax.nn.initializers.he_normal,
    "xavier": jax.nn.initializers.glorot_normal,
    "lecun": jax.nn.initializers.lecun_normal,
    "orthogonal": jax.nn.initializers.orthogonal,
    "normal": jax.nn.initializers.normal,
    "constant": jax.nn.initializers.constant,
}

CLIPS = {"norm": optax.clip_by_global_norm, "value": optax.clip}


def make_parser(description, **defaults):
    """The flags that every example has, with those of optax."""
    parser = flags.make_parser(
        description, activations=ACTIVATIONS, optimizers=OPTIMIZERS, clips=list(CLIPS), **defaults
    )
    parser.add_argument("--jit", choices=["on", "off"], default="on", help="compile the step")
    return parser


def make_optimizer(args):
    """Clip, then weight decay as a part of the gradient (adamw: its own), then the optimizer."""
    kind, limit = args.clip
    chain = [] if kind == "none" else [CLIPS[kind](limit)]
    if args.weight_decay is None:
        return optax.chain(*chain, OPTIMIZERS[args.optimizer](args.lr))
    if args.optimizer == "adamw":
        return optax.chain(*chain, optax.adamw(args.lr, weight_decay=args.weight_decay))
    return optax.chain(*chain, optax.add_decayed_weights(args.weight_decay), OPTIMIZERS[args.optimizer](args.lr))


def initializer(init):
    """What a layer takes as `kernel_init`: ("normal", 0.1) -> normal(0.1); "default" is flax's own, lecun_normal."""
    kind, value = init
    if kind == "default":
        return jax.nn.initializers.lecun_normal()
    return INITIALIZERS[kind]() if value is None else INITIALIZERS[kind](value)
