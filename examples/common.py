"""What the examples in PyTorch share: the tables behind the flags, and the digits."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import flags
from flags import clip_spec as clip_spec
from flags import count as count
from flags import init_spec as init_spec
from flags import number as number

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


make_parser = partial(flags.make_parser, activations=ACTIVATIONS, optimizers=OPTIMIZERS, clips=["norm", "value"])


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
