"""What the examples share: the flags, the tables behind them, and the digits."""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

ACTIVATIONS = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
}

OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "momentum": lambda params, **kw: torch.optim.SGD(params, momentum=0.9, **kw),
    "nesterov": lambda params, **kw: torch.optim.SGD(params, momentum=0.9, nesterov=True, **kw),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "amsgrad": lambda params, **kw: torch.optim.Adam(params, amsgrad=True, **kw),
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "lbfgs": lambda params, **kw: torch.optim.LBFGS(params, line_search_fn="strong_wolfe", **kw),
}

INITS = {
    "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_normal_,
    "lecun": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
}


def make_parser(
    description, *, optimizer, lr, activation, init, norm, norms, depth, width, batch_size, val_share, clip="none"
):  # fmt: skip
    """The flags that every example has; a script adds its own, such as --epochs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--activation", choices=ACTIVATIONS, default=activation, help="between the layers")
    add("--init", type=init_spec, default=init, metavar="INIT", help=f"of the weights: {INIT_HELP}")
    add("--norm", choices=norms, default=norm, help="normalisation")
    add("--optimizer", choices=OPTIMIZERS, default=optimizer, help="all take part through step(closure)")
    add("--lr", type=positive, default=lr, help="learning rate")
    add("--weight-decay", type=not_negative, help="None: the optimizer's own, 0.01 for adamw, else 0")
    add("--clip", type=clip_spec, default=clip, metavar="CLIP", help=f"of the gradients: {CLIP_HELP}")
    add("--batch-size", type=count, default=batch_size, help="examples per step")
    add("--depth", type=count, default=depth, help="number of layers or blocks")
    add("--width", type=count, default=width, help="units or channels per layer")
    add("--val-share", type=share, default=val_share, help="part of the data held out for validation")
    add("--seed", type=seed, default=0, help="of the weights, the split and the order of the data")
    add("--save", type=new_file, metavar="PATH", help="file for the state_dict at the end")
    return parser


def parse(parser, argv=None):
    """Parse, and refuse the one combination of shared flags that no optimizer offers."""
    args = parser.parse_args(argv)
    if args.optimizer == "lbfgs" and args.weight_decay:
        parser.error(f"--weight-decay must be 0 or left out with --optimizer lbfgs, got {args.weight_decay}")
    return args


def make_optimizer(name, params, *, lr, weight_decay=None):
    settings = {"lr": lr}
    if weight_decay is not None and name != "lbfgs":
        settings["weight_decay"] = weight_decay
    return OPTIMIZERS[name](params, **settings)


def initialise(model, init):
    """Draw every weight matrix and kernel anew, biases become zero; "default" leaves all as built."""
    kind, value = init
    if kind == "default":
        return
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() >= 2:
                draw(p, kind, value)
            elif "bias" in name:
                p.zero_()


def draw(weight, kind, value):
    if kind == "normal":
        nn.init.normal_(weight, std=value)
    elif kind == "constant":
        nn.init.constant_(weight, value)
    else:
        INITS[kind](weight)


def clip_gradients(params, clip):
    """Clip in place: by the norm of all gradients together, or each entry by value."""
    kind, limit = clip
    if kind == "norm":
        nn.utils.clip_grad_norm_(params, limit)
    elif kind == "value":
        nn.utils.clip_grad_value_(params, limit)


# --- data ---------------------------------------------------------------------------------------


def split(n, val_share):
    """Train and validation indices below n, in random order, at least one of each."""
    n_val = min(max(1, round(n * val_share)), n - 1)
    val, train = torch.randperm(n).split([n_val, n - n_val])
    return train, val


def digit_images(val_share, size=8):
    """scikit-learn's digits: train images (N, 1, size, size) in [0, 1], train labels (N,), both for validation."""
    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(digits.target)
    if size != 8:
        images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    train, val = split(len(labels), val_share)
    return images[train], labels[train], images[val], labels[val]


def augment(images, how):
    """Turn each image by up to 15 degrees, or crop it at random after padding by an eighth of its size."""
    if how == "none":
        return images
    n, size = len(images), images.shape[-1]
    theta = torch.eye(2, 3).repeat(n, 1, 1)
    if how == "rotate":
        angle = (torch.rand(n) * 2 - 1) * math.radians(15)
        theta[:, 0, 0], theta[:, 0, 1] = angle.cos(), -angle.sin()
        theta[:, 1, 0], theta[:, 1, 1] = angle.sin(), angle.cos()
    else:
        pad = size // 8
        theta[:, :, 2] = torch.randint(-pad, pad + 1, (n, 2)) * (2 / size)  # the image spans [-1, 1]
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


# --- values of flags ----------------------------------------------------------------------------

INIT_HELP = "default, he, xavier, lecun, orthogonal, normal:STD (STD > 0) or constant:VALUE"
CLIP_HELP = "none, norm:LIMIT or value:LIMIT (LIMIT > 0)"


def number(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def init_spec(text):
    """Read --init: normal:0.1 -> ("normal", 0.1), he -> ("he", None)."""
    kind, colon, rest = text.partition(":")
    if not colon and kind in {"default", *INITS}:
        return kind, None
    try:
        value = number(rest)
    except ValueError:
        value = None
    if value is not None and (kind == "constant" or (kind == "normal" and value > 0)):
        return kind, value
    raise argparse.ArgumentTypeError(f"must be {INIT_HELP}, got {text!r}")


def clip_spec(text):
    """Read --clip: norm:1.0 -> ("norm", 1.0), none -> ("none", None)."""
    kind, _, rest = text.partition(":")
    if text == "none":
        return "none", None
    try:
        limit = number(rest)
    except ValueError:
        limit = 0.0
    if kind in {"norm", "value"} and limit > 0:
        return kind, limit
    raise argparse.ArgumentTypeError(f"must be {CLIP_HELP}, got {text!r}")


def checked(convert, allowed, what):
    """A type for argparse whose error says what is allowed."""

    def parse_value(text):
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")
        return value

    return parse_value


positive = checked(number, lambda v: v > 0, "a number above 0")
not_negative = checked(number, lambda v: v >= 0, "a number of at least 0")
share = checked(number, lambda v: 0 < v < 1, "a number between 0 and 1, both excluded")
count = checked(int, lambda v: v >= 1, "a whole number of at least 1")
seed = checked(int, lambda v: 0 <= v < 2**32, "a whole number from 0 to 4294967295")
new_file = checked(Path, lambda v: v.parent.is_dir() and not v.is_dir(), "a file name in a directory that exists")
