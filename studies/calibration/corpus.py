"""The corpus, declared: which trainings, healthy and planted, with which seeds.

A base is a family with sane settings. Every base is trained healthy; a planted run is a base with one fault, and its
twin is the same base with the same seed. Runs of even seeds are the calibration half, of odd seeds the held-out half.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .faults import FAULTS, Fault

HEALTHY_SEEDS = 6
FIRST, MORE, SOME, MOST, MANY, FULL = 4, 8, 12, 16, 20, 32
"""Seeds of a planted fault: as many as its trouble needs for 60 held-out runs, more where few faults show in it."""


@dataclass(frozen=True)
class Recipe:
    base: str
    seed: int
    fault: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.base, self.fault, f"s{self.seed}")))

    @property
    def family(self) -> str:
        return BASES[self.base][0]

    @property
    def flags(self) -> dict[str, Any]:
        return BASES[self.base][1]

    @property
    def planted(self) -> Fault | None:
        return FAULTS[self.fault] if self.fault else None

    @property
    def twin(self) -> Recipe:
        return Recipe(self.base, self.seed)

    @property
    def held_out(self) -> bool:
        return self.seed % 2 == 1


def _bases(family: str, variations: dict[str, dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {f"{family}-{name}": (family, flags) for name, flags in variations.items()}


BASES: dict[str, tuple[str, dict[str, Any]]] = {
    **_bases(
        "mlp",
        {
            "adam": {},
            "sgd": {"optimizer": "sgd", "lr": 0.1},
            "momentum": {"optimizer": "momentum", "lr": 0.03},
            "adamw": {"optimizer": "adamw", "lr": 2e-3},
            "rmsprop": {"optimizer": "rmsprop"},
            "nadam": {"optimizer": "nadam", "lr": 2e-3},
            "adagrad": {"optimizer": "adagrad", "lr": 0.02},
            "adadelta": {"optimizer": "adadelta", "lr": 1.0},
            "lbfgs": {"optimizer": "lbfgs", "lr": 1.0, "batch_size": 2000, "steps": 20, "validations": 4},
            "tanh": {"activation": "tanh", "init": "xavier"},
            "gelu": {"activation": "gelu"},
            "leaky": {"activation": "leaky_relu", "optimizer": "momentum", "lr": 0.03},
            "sigmoid": {"activation": "sigmoid", "init": "xavier", "depth": 1, "lr": 5e-3},
            "batchnorm": {"norm": "batch"},
            "layernorm": {"norm": "layer"},
            "wide": {"width": 256},
            "narrow": {"width": 32, "lr": 3e-3},
            "batch-8": {"batch_size": 8, "lr": 5e-4},
            "batch-256": {"batch_size": 256, "lr": 2e-3},
            "cosine": {"schedule": "cosine", "lr": 2e-3},
            "warmup": {"schedule": "warmup", "lr": 2e-3},
            "steps": {"schedule": "step", "optimizer": "momentum", "lr": 0.05},
            "rotate": {"augment": "rotate", "lr": 2e-3},
            "label-noise": {"label_noise": 0.3, "lr": 2e-3},
            "dropout": {"dropout": 0.3, "lr": 2e-3},
            "smoothed": {"loss": "smoothed"},
            "clipped": {"clip": "norm:1.0", "optimizer": "momentum", "lr": 0.05},
            "blind": {"validations": 0},
            "long": {"steps": 700, "lr": 2e-3},
            "bfloat16": {"dtype": "bfloat16", "lr": 2e-3},
            "autocast": {"dtype": "autocast"},
            "fine-tuned": {"frozen": 1, "lr": 2e-3},
            "accumulating": {"accumulate": 4},
            "default": {"init": "default", "lr": 2e-3},
            "slow": {"lr": 3e-4, "steps": 400},
            "ranks": {"ranks": 2, "batch_size": 32, "steps": 100, "lr": 3e-3},
        },
    ),
    **_bases(
        "deep",
        {
            "adam": {},
            "momentum": {"optimizer": "momentum", "lr": 0.01},
            "sgd": {"optimizer": "sgd", "lr": 0.05},
            "tanh": {"activation": "tanh", "init": "xavier"},
            "gelu-layernorm": {"activation": "gelu", "norm": "layer"},
            "orthogonal": {"init": "orthogonal", "activation": "tanh", "optimizer": "momentum", "lr": 0.01},
            "batchnorm": {"norm": "batch", "optimizer": "momentum", "lr": 0.05},
            "adamw-cosine": {"optimizer": "adamw", "schedule": "cosine", "lr": 2e-3},
            "deeper": {"depth": 20},
        },
    ),
    **_bases(
        "vgg",
        {
            "adam": {},
            "momentum": {"optimizer": "momentum", "lr": 0.02},
            "batchnorm": {"norm": "batch"},
            "rmsprop": {"optimizer": "rmsprop", "lr": 1e-3},
            "crop": {"augment": "crop", "lr": 3e-3, "steps": 240},
            "groupnorm": {"norm": "layer", "optimizer": "adamw", "lr": 3e-3},
        },
    ),
    **_bases(
        "resnet",
        {
            "nesterov": {},
            "adam": {"optimizer": "adam", "lr": 3e-3},
            "groupnorm": {"norm": "layer", "optimizer": "adam", "lr": 3e-3},
            "cosine": {"schedule": "cosine", "lr": 0.05},
        },
    ),
    **_bases(
        "lstm",
        {
            "adam": {},
            "nadam": {"optimizer": "nadam"},
            "adamw": {"optimizer": "adamw"},
            "huber": {"loss": "huber"},
            "unclipped": {"clip": "none"},
        },
    ),
    **_bases(
        "rnn",
        {
            "adam": {},
            "relu": {"activation": "relu", "lr": 2e-3},
            "wide": {"width": 64},
            "adamw": {"optimizer": "adamw", "lr": 4e-3},
            "unclipped": {"clip": "none"},
        },
    ),
    **_bases(
        "gcn",
        {
            "adam": {},
            "momentum": {"optimizer": "momentum", "lr": 0.1},
            "drop-edge": {"augment": "drop_edge"},
            "dropout": {"dropout": 0.3},
            "layernorm": {"norm": "layer", "depth": 3},
            "deeper": {"depth": 4},
        },
    ),
    **_bases(
        "transformer",
        {
            "adamw": {},
            "adam": {"optimizer": "adam", "lr": 3e-3},
            "warmup": {"schedule": "warmup", "lr": 8e-3},
            "clipped": {"clip": "norm:1.0"},
            "batch-8": {"batch_size": 8},
        },
    ),
    **_bases(
        "regression",
        {
            "adam": {},
            "momentum": {"optimizer": "momentum", "lr": 0.02},
            "sgd": {"optimizer": "sgd", "lr": 0.1},
            "huber": {"loss": "huber"},
            "l1": {"loss": "l1"},
            "tanh": {"activation": "tanh", "init": "xavier"},
            "lbfgs": {"optimizer": "lbfgs", "lr": 1.0, "batch_size": 4000, "steps": 25, "validations": 5},
            "rmsprop": {"optimizer": "rmsprop", "lr": 2e-3},
            "batch-8": {"batch_size": 8, "lr": 1e-3, "steps": 500},
            "slow": {"lr": 1e-3},
            "ranks": {"ranks": 2, "batch_size": 32, "steps": 150, "optimizer": "momentum", "lr": 0.03},
        },
    ),
    **_bases(
        "binary",
        {
            "adam": {},
            "momentum": {"optimizer": "momentum", "lr": 0.02},
            "adagrad": {"optimizer": "adagrad", "lr": 0.02},
            "deep": {"depth": 5},
            "tanh": {"activation": "tanh", "init": "xavier"},
            "batch-8": {"batch_size": 8, "lr": 1e-3},
        },
    ),
}

CLASSES = ("mlp-adam", "mlp-momentum", "deep-adam", "vgg-adam", "resnet-nesterov", "gcn-adam", "transformer-adamw")
VALUES = ("regression-adam", "regression-momentum", "lstm-adam", "rnn-adam")
FEED_FORWARD = ("mlp-adam", "mlp-sgd", "deep-adam", "vgg-momentum", "regression-adam", "binary-adam")
ALL = (*CLASSES, *VALUES, "binary-adam")
HAND_WRITTEN = ("mlp-adam", "mlp-sgd", "vgg-adam", "deep-momentum", "gcn-adam", "resnet-adam")

PLANS: tuple[tuple[str, Sequence[str], int], ...] = (
    ("lr-x1000", (*ALL, "mlp-sgd", "mlp-rmsprop", "mlp-adagrad", "deep-sgd", "vgg-momentum", "regression-sgd"), MORE),
    ("lr-x100", (*ALL, "mlp-sgd", "mlp-nadam", "deep-tanh", "mlp-tanh"), FIRST),
    ("lr-x20", (*ALL, "mlp-adamw", "deep-momentum", "vgg-rmsprop"), FIRST),
    ("lr-d10000", (*ALL, "mlp-sgd", "mlp-adamw", "mlp-adadelta", "mlp-nadam"), MORE),
    ("lr-d1000", (*ALL, "mlp-rmsprop", "mlp-adagrad", "regression-sgd"), FIRST),
    ("few-steps", ALL, FIRST),
    ("bf16", ("mlp-adam", "mlp-sgd", "deep-adam", "regression-adam", "binary-adam"), FIRST),
    ("clip", ("mlp-sgd", "mlp-momentum", "deep-momentum", "vgg-momentum", "resnet-nesterov", "gcn-momentum"), FIRST),
    ("decay", ("mlp-adam", "mlp-sgd", "mlp-adamw", "deep-adam", "vgg-momentum", "lstm-adam", "gcn-adam"), FIRST),
    ("tiny-batch", ("mlp-momentum", "mlp-adam", "vgg-adam", "deep-adam", "regression-momentum"), MORE),
    ("tiny-batch", ("mlp-momentum", "mlp-sgd", "deep-adam", "deep-momentum"), MANY),
    ("tiny-batch", ("regression-momentum", "regression-sgd", "regression-rmsprop"), MANY),
    ("wrong-sign", ("mlp-adam", "mlp-sgd", "vgg-adam", "lstm-adam", "gcn-adam", "regression-sgd"), FIRST),
    ("wrong-sign", ("mlp-adam", "mlp-adamw", "gcn-adam", "binary-adam"), SOME),
    ("no-zero-grad", ("mlp-sgd", "mlp-momentum", "deep-adam", "vgg-momentum", "lstm-adam", "regression-sgd"), FIRST),
    (
        "init-x5",
        (
            "deep-adam",
            "deep-sgd",
            "deep-tanh",
            "deep-momentum",
            "vgg-adam",
            "vgg-momentum",
            "vgg-rmsprop",
            "mlp-sgd",
            "mlp-momentum",
            "regression-sgd",
        ),
        14,
    ),
    ("normal-init", ("deep-adam", "deep-sgd", "deep-momentum", "deep-adamw-cosine"), MOST),
    ("init-x3-deep", ("deep-adam", "deep-sgd", "deep-momentum", "deep-adamw-cosine"), MOST),
    ("tanh-x20", ("deep-tanh", "deep-orthogonal"), MOST),
    ("tanh-x20", ("mlp-tanh", "regression-tanh", "binary-tanh"), FULL),
    (
        "init-d10",
        ("deep-adam", "deep-sgd", "deep-tanh", "deep-momentum", "vgg-adam", "vgg-momentum", "gcn-adam"),
        MORE,
    ),
    ("init-d10", ("deep-adam", "deep-sgd", "deep-momentum"), SOME),
    ("default-deep", ("deep-adam", "deep-sgd", "deep-momentum"), MORE),
    ("init-constant", ("mlp-adam", "mlp-sgd", "deep-adam", "vgg-adam", "regression-adam", "gcn-adam"), FIRST),
    ("init-zero", ("mlp-adam", "deep-momentum", "vgg-adam", "binary-adam", "lstm-adam"), FIRST),
    ("recurrent-x2.5", ("rnn-adam", "rnn-wide", "rnn-adamw"), SOME),
    ("recurrent-x4", ("rnn-adam", "rnn-wide", "rnn-adamw"), MORE),
    ("recurrent-x8", ("lstm-adam", "lstm-adamw", "lstm-huber"), MORE),
    ("sigmoid-deep", ("mlp-adam", "mlp-sgd", "mlp-momentum", "vgg-adam", "regression-adam", "binary-adam"), MORE),
    ("dead-biases", ("mlp-adam", "mlp-sgd", "deep-adam", "regression-adam", "binary-adam", "binary-momentum"), MANY),
    ("dead-biases", ("vgg-adam",), FIRST),
    ("over-smoothing", ("gcn-adam", "gcn-momentum", "gcn-dropout"), MORE),
    ("detached", (*ALL, "deep-tanh"), FIRST),
    ("detached-loss", ("mlp-adam", "regression-adam"), MANY),
    ("frozen", ALL, FIRST),
    ("forgotten", ALL, FIRST),
    ("no-average", ("mlp-ranks", "regression-ranks"), MANY),
    ("average-but-last", ("mlp-ranks", "regression-ranks"), MANY),
    ("own-rates", ("mlp-ranks", "regression-ranks"), MANY),
    ("softmax-first", CLASSES, FIRST),
    ("softmax-of-one", ("binary-adam", "binary-momentum", "binary-adagrad"), MANY),
    ("sigmoid-first", ("mlp-sgd", "deep-momentum", "vgg-momentum", "gcn-adam", "resnet-nesterov"), FIRST),
    ("relu-output", ("regression-adam", "regression-sgd", "regression-tanh"), FIRST),
    ("sigmoid-output", ("regression-adam", "regression-sgd", "regression-huber"), FIRST),
    ("linear", ("regression-adam", "regression-rmsprop", "regression-huber"), FIRST),
    ("broadcast", ("regression-adam", "regression-sgd", "regression-tanh"), SOME),
    ("shuffled", (*CLASSES[:-1], *VALUES, "binary-adam"), FIRST),
    ("noise-inputs", ("mlp-adam", "vgg-adam", "resnet-adam", "regression-adam", "binary-adam", "lstm-adam"), FIRST),
    ("one-label", ("mlp-adam", "vgg-adam", "resnet-nesterov", "gcn-adam", "binary-adam"), FIRST),
    ("one-label", ("mlp-adam", "gcn-adam", "binary-adam"), SOME),
    ("labels-beyond", ("mlp-adam", "vgg-adam", "gcn-adam"), FIRST),
    ("labels-beyond", ("mlp-adam", "mlp-sgd", "deep-adam", "gcn-adam"), MANY),
    (
        "inputs-x255",
        (
            "mlp-sgd",
            "mlp-adam",
            "deep-sgd",
            "vgg-momentum",
            "regression-sgd",
            "binary-momentum",
            "gcn-momentum",
            "rnn-adam",
        ),
        FIRST,
    ),
    (
        "inputs-shifted",
        ("mlp-sgd", "mlp-adam", "regression-adam", "regression-sgd", "binary-momentum", "vgg-adam"),
        FIRST,
    ),
    ("targets-x1000", (*VALUES, "regression-sgd", "regression-huber"), FIRST),
    ("few-rows", ("mlp-adam", "mlp-momentum", "deep-adam", "vgg-adam", "resnet-adam", "regression-adam"), MORE),
    (
        "few-rows",
        ("mlp-adam", "mlp-momentum", "mlp-tanh", "mlp-adamw", "regression-adam", "regression-rmsprop"),
        MANY,
    ),
    ("dropout", ("mlp-adam", "mlp-sgd", "vgg-adam", "regression-adam", "deep-adam", "gcn-adam"), FIRST),
    ("nan-batch", ("mlp-adam", "mlp-momentum", "vgg-adam", "resnet-nesterov", "lstm-adam", "regression-adam"), FIRST),
    (
        "big-batch",
        (
            "mlp-adam",
            "mlp-adamw",
            "mlp-nadam",
            "deep-adam",
            "vgg-adam",
            "resnet-adam",
            "regression-adam",
            "lstm-adam",
            "rnn-adam",
        ),
        MORE,
    ),
    (
        "big-batch",
        ("mlp-adam", "deep-adam", "deep-adamw-cosine", "regression-adam", "regression-rmsprop", "regression-huber"),
        MANY,
    ),
    ("wild-targets", ("regression-adam", "regression-rmsprop", "regression-momentum", "lstm-adam"), SOME),
    ("log-negative", ("regression-adam", "regression-sgd", "regression-momentum"), FIRST),
    ("log-zero", HAND_WRITTEN, FIRST),
    ("root-zero", HAND_WRITTEN, FIRST),
    ("where-trap", HAND_WRITTEN, FIRST),
    ("softmax-by-hand", HAND_WRITTEN, FIRST),
)

QUICK = (
    "lr-x1000", "lr-d10000", "init-x5", "sigmoid-deep", "init-constant", "no-zero-grad", "detached", "softmax-of-one",
    "shuffled", "labels-beyond", "nan-batch", "dead-biases",
)  # fmt: skip


def recipes(*, quick: bool = False, only: Iterable[str] = ()) -> list[Recipe]:
    """Every training of the corpus, each once: the planted ones, their twins, and the other healthy ones.

    `only` keeps the families that it names. The order is arbitrary but the same each time, so that a part of the
    corpus is a fair sample of it.
    """
    planted = [r for plan in PLANS for r in _planted(*plan)]
    healthy = [Recipe(base, seed) for base in BASES for seed in range(HEALTHY_SEEDS)]
    if quick:
        planted = [r for name in QUICK for r in _quick(name)]
        healthy = [Recipe(base, 1) for base in ("mlp-batchnorm", "gcn-drop-edge", "regression-l1", "mlp-label-noise")]
    every = dict.fromkeys((*healthy, *(r.twin for r in planted), *planted))
    families = set(only)
    return sorted((r for r in every if not families or r.family in families), key=lambda r: zlib.crc32(r.name.encode()))


def _planted(fault: str, bases: Sequence[str], seeds: int) -> list[Recipe]:
    return [Recipe(base, seed, fault) for base in bases for seed in range(seeds)]


def _quick(fault: str) -> list[Recipe]:
    bases = next(bases for name, bases, _ in PLANS if name == fault)
    return [Recipe(base, i % 2, fault) for i, base in enumerate(bases[:2])]
