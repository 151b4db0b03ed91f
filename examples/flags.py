"""The flags of the examples, whatever the framework: their names and the values that they take."""

import argparse
import math
from functools import partial
from pathlib import Path


def make_parser(
    description, *, activations, optimizers, clips, optimizer, lr, activation, init, norm, norms, depth, width,
    batch_size, val_share, clip="none",
):  # fmt: skip
    """The flags that every example has; a framework says what it offers, a script adds its own, such as --epochs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    clip_type = partial(clip_spec, kinds=clips)
    add("--activation", choices=activations, default=activation, help="between the layers")
    add("--init", type=init_spec, default=init, metavar="INIT", help=f"of the weights: {INIT_HELP}")
    add("--norm", choices=norms, default=norm, help="normalisation")
    add("--optimizer", choices=optimizers, default=optimizer, help="update rule")
    add("--lr", type=positive, default=lr, help="learning rate")
    add("--weight-decay", type=not_negative, help="None: the optimizer's own")
    add("--clip", type=clip_type, default=clip, metavar="CLIP", help=f"of the gradients: {clip_help(clips)}")
    add("--batch-size", type=count, default=batch_size, help="examples per step")
    add("--depth", type=count, default=depth, help="number of layers or blocks")
    add("--width", type=count, default=width, help="units or channels per layer")
    add("--val-share", type=share, default=val_share, help="part of the data held out for validation")
    add("--seed", type=seed, default=0, help="of the weights, the split and the order of the data")
    add("--save", type=new_file, metavar="PATH", help="file for the trained weights at the end")
    return parser


# --- values -------------------------------------------------------------------------------------

INIT_NAMES = ("default", "he", "xavier", "lecun", "orthogonal")
INIT_HELP = "default, he, xavier, lecun, orthogonal, normal:STD (STD > 0) or constant:VALUE"


def number(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def init_spec(text):
    """Read --init: normal:0.1 -> ("normal", 0.1), he -> ("he", None)."""
    kind, colon, rest = text.partition(":")
    if not colon and kind in INIT_NAMES:
        return kind, None
    try:
        value = number(rest)
    except ValueError:
        value = None
    if value is not None and (kind == "constant" or (kind == "normal" and value > 0)):
        return kind, value
    raise argparse.ArgumentTypeError(f"must be {INIT_HELP}, got {text!r}")


def clip_help(kinds):
    """("norm", "value") -> none, norm:LIMIT or value:LIMIT (LIMIT > 0)"""
    *rest, last = [f"{kind}:LIMIT" for kind in kinds]
    return f"{', '.join(['none', *rest])} or {last} (LIMIT > 0)"


def clip_spec(text, kinds=("norm", "value")):
    """Read --clip: norm:1.0 -> ("norm", 1.0), none -> ("none", None)."""
    kind, _, rest = text.partition(":")
    if text == "none":
        return "none", None
    try:
        limit = number(rest)
    except ValueError:
        limit = 0.0
    if kind in kinds and limit > 0:
        return kind, limit
    raise argparse.ArgumentTypeError(f"must be {clip_help(kinds)}, got {text!r}")


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
rate = checked(number, lambda v: 0 <= v < 1, "a number from 0 to below 1")
