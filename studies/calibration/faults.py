"""The faults that are planted: what each does to a training, and what a good judge says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from . import plants as p
from .plants import Flags, Plant
from .task import Settings

BLOWN = ("diverging-loss", "non-finite", "exploding-gradient")
STUCK = ("stalled-loss", "slow-loss", "constant-output")
HIGH_LR = (*BLOWN, *STUCK, "oscillating-loss", "dead-units", "saturated-units", "loss-spike")


@dataclass(frozen=True)
class Fault:
    name: str
    says: str
    troubles: tuple[str, ...]
    causes: tuple[str, ...]
    flags: Callable[[Settings], Flags] = lambda s: {}
    plant: Plant = lambda task, s: None
    harm: str = "score"


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("lr-x1000", "learning rate 1000 times too high", HIGH_LR, ("learning-rate-too-high",), p.times_lr(1000)),
        Fault("lr-x100", "learning rate 100 times too high", HIGH_LR, ("learning-rate-too-high",), p.times_lr(100)),
        Fault(
            "lr-x20",
            "learning rate 20 times too high",
            HIGH_LR,
            ("learning-rate-too-high", "dying-activation", "missing-warm-up"),
            p.times_lr(20),
        ),
        Fault("lr-d10000", "learning rate 10,000 times too low", STUCK, ("learning-rate-too-low",), p.times_lr(1e-4)),
        Fault("lr-d1000", "learning rate 1000 times too low", STUCK, ("learning-rate-too-low",), p.times_lr(1e-3)),
        Fault(
            "few-steps",
            "a quarter of the steps, at a tenth of the learning rate",
            STUCK,
            ("too-few-steps", "learning-rate-too-low"),
            lambda s: {"steps": max(50, s.steps // 4), "lr": s.lr / 10},
        ),
        Fault(
            "bf16",
            "weights in bfloat16 and a small learning rate: updates are rounded away",
            STUCK,
            ("updates-lost-in-rounding",),
            lambda s: {"lr": s.lr * 0.02, "dtype": "bfloat16"},
        ),
        Fault(
            "clip",
            "gradients clipped to a norm of 1e-6",
            STUCK,
            ("clipping-too-tight",),
            lambda s: {"clip": "norm:1e-6"},
        ),
        Fault(
            "decay", "weight decay 10", (*STUCK, *BLOWN), ("too-much-weight-decay",), lambda s: {"weight_decay": 10.0}
        ),
        Fault(
            "tiny-batch",
            "two rows per step, at the learning rate of sixty-four",
            ("oscillating-loss", *HIGH_LR),
            ("batch-too-small", "learning-rate-too-high"),
            lambda s: {"batch_size": 2, "lr": s.lr * 4},
        ),
        Fault("wrong-sign", "the loss with its sign turned", BLOWN, ("wrong-sign",), plant=p.wrong_sign),
        Fault(
            "no-zero-grad",
            "gradients never set to zero",
            (*HIGH_LR,),
            ("missing-zero-grad",),
            lambda s: {"zero_grad": False},
        ),
        Fault(
            "init-x5",
            "weights five times too large",
            (*BLOWN, "saturated-units", "stalled-loss", "slow-loss", "dead-units", "oscillating-loss"),
            ("initial-weights-too-large", "depth-without-normalisation"),
            plant=p.times_weights(5),
        ),
        Fault(
            "normal-init",
            "weights from a normal distribution of standard deviation 0.5, twenty layers, gradients clipped to 1",
            ("exploding-gradient", *HIGH_LR),
            ("initial-weights-too-large", "depth-without-normalisation"),
            lambda s: {"init": "normal:0.5", "depth": 20, "clip": "norm:1.0"},
        ),
        Fault(
            "init-x3-deep",
            "weights three times too large in twenty layers, gradients clipped to 1",
            ("exploding-gradient", *HIGH_LR),
            ("initial-weights-too-large", "depth-without-normalisation"),
            lambda s: {"depth": 20, "clip": "norm:1.0"},
            p.times_weights(3),
        ),
        Fault(
            "init-d10",
            "weights ten times too small",
            ("vanishing-gradient", *STUCK),
            ("initial-weights-too-small", "depth-without-normalisation"),
            plant=p.times_weights(0.1),
        ),
        Fault(
            "default-deep",
            "PyTorch's default weights in twenty ReLU layers",
            ("vanishing-gradient", *STUCK),
            ("initial-weights-too-small", "depth-without-normalisation"),
            lambda s: {"depth": 20, "init": "default"},
        ),
        Fault(
            "init-constant",
            "all weights 0.01",
            ("stalled-loss", "constant-output", "slow-loss", "vanishing-gradient", "dead-units"),
            ("constant-initial-weights",),
            lambda s: {"init": "constant:0.01"},
        ),
        Fault(
            "init-zero",
            "all weights 0",
            ("stalled-loss", "constant-output", "vanishing-gradient", "slow-loss", "idle-parameter", "dead-units"),
            ("constant-initial-weights", "initial-weights-too-small"),
            lambda s: {"init": "constant:0"},
        ),
        Fault(
            "tanh-x20",
            "weights twenty times too large before tanh",
            ("saturated-units", *HIGH_LR),
            ("initial-weights-too-large", "saturating-activation"),
            plant=p.times_weights(20),
        ),
        Fault(
            "recurrent-x2.5",
            "recurrent weights 2.5 times too large, no clip",
            (*BLOWN, "stalled-loss", "slow-loss", "saturated-units", "oscillating-loss"),
            ("unclipped-recurrence", "initial-weights-too-large"),
            lambda s: {"clip": "none", "activation": "relu"},
            p.times_recurrent(2.5),
        ),
        Fault(
            "recurrent-x4",
            "recurrent weights four times too large under tanh, no clip",
            (*BLOWN, "stalled-loss", "slow-loss", "saturated-units", "oscillating-loss", "overfitting"),
            ("initial-weights-too-large", "unclipped-recurrence"),
            lambda s: {"clip": "none"},
            p.times_recurrent(4.0),
        ),
        Fault(
            "recurrent-x8",
            "recurrent weights eight times too large in an LSTM, no clip",
            (*BLOWN, "stalled-loss", "slow-loss", "saturated-units", "oscillating-loss", "overfitting"),
            ("initial-weights-too-large", "unclipped-recurrence"),
            lambda s: {"clip": "none"},
            p.times_recurrent(8.0),
        ),
        Fault(
            "sigmoid-deep",
            "twelve sigmoid layers",
            ("vanishing-gradient", *STUCK, "saturated-units"),
            ("saturating-activation",),
            lambda s: {"activation": "sigmoid", "depth": 12, "init": "default"},
        ),
        Fault(
            "dead-biases",
            "biases of -10 before ReLU",
            ("dead-units", *STUCK, "vanishing-gradient"),
            ("dying-activation",),
            plant=p.dead_biases,
        ),
        Fault(
            "over-smoothing",
            "sixteen graph convolutions",
            (*STUCK, "vanishing-gradient"),
            ("over-smoothing", "depth-without-normalisation"),
            p.over_smooth,
        ),
        Fault(
            "detached",
            "the last layer's input is detached",
            ("idle-parameter", *STUCK),
            ("detached-graph",),
            plant=p.detach,
            harm="construction",
        ),
        Fault(
            "detached-loss",
            "the outputs are detached before the loss",
            ("crash",),
            ("detached-graph",),
            plant=p.detach_all,
        ),
        Fault(
            "frozen",
            "all but the last layer is frozen",
            ("idle-parameter", *STUCK),
            ("frozen-parameters",),
            plant=p.freeze,
            harm="construction",
        ),
        Fault(
            "forgotten",
            "all but the last layer is missing in the optimizer",
            ("idle-parameter", *STUCK),
            ("frozen-parameters",),
            plant=p.forget,
            harm="construction",
        ),
        Fault(
            "no-average",
            "two ranks whose gradients are not averaged",
            ("rank-divergence",),
            ("unsynchronised-ranks",),
            plant=p.no_average,
            harm="construction",
        ),
        Fault(
            "average-but-last",
            "two ranks, and the gradients of the last layer are not averaged",
            ("rank-divergence",),
            ("unsynchronised-ranks",),
            plant=p.average_but_last,
            harm="construction",
        ),
        Fault(
            "own-rates",
            "two ranks, the second at twice the learning rate",
            ("rank-divergence",),
            ("unsynchronised-ranks",),
            lambda s: {"lr": s.lr * (1 + s.rank)},
            harm="construction",
        ),
        Fault(
            "softmax-first",
            "softmax before the cross-entropy",
            STUCK,
            ("output-activation-mismatch", "loss-mismatch"),
            plant=p.output(lambda out: torch.softmax(out, 1)),
        ),
        Fault(
            "softmax-of-one",
            "softmax of a single unit",
            ("constant-output", "stalled-loss", "vanishing-gradient", "idle-parameter"),
            ("output-activation-mismatch",),
            plant=p.softmax_of_one,
        ),
        Fault(
            "sigmoid-first",
            "sigmoid before a loss that applies it again",
            STUCK,
            ("output-activation-mismatch", "loss-mismatch"),
            plant=p.output(torch.sigmoid),
        ),
        Fault(
            "relu-output",
            "ReLU on outputs that must be negative as well",
            (*STUCK, "dead-units"),
            ("output-activation-mismatch", "dying-activation"),
            plant=p.output(torch.relu),
        ),
        Fault(
            "sigmoid-output",
            "sigmoid on outputs that reach from -3 to 3",
            STUCK,
            ("output-activation-mismatch",),
            plant=p.output(torch.sigmoid),
        ),
        Fault(
            "linear",
            "no activation between the layers, on a problem that is not linear",
            STUCK,
            ("missing-activation",),
            plant=p.all_linear,
        ),
        Fault(
            "broadcast",
            "outputs (N, 1) against targets (N,)",
            ("constant-output", "stalled-loss", "slow-loss"),
            ("loss-mismatch",),
            plant=p.broadcast,
        ),
        Fault(
            "shuffled",
            "labels of other rows",
            ("stalled-loss", "slow-loss", "overfitting", "constant-output"),
            ("uninformative-data", "labels-invalid"),
            plant=p.shuffle,
        ),
        Fault(
            "noise-inputs",
            "inputs that are noise",
            ("stalled-loss", "slow-loss", "overfitting", "constant-output"),
            ("uninformative-data",),
            plant=p.noise_inputs,
        ),
        Fault(
            "one-label",
            "every row has the same label",
            ("constant-output", "stalled-loss", "slow-loss"),
            ("labels-invalid", "uninformative-data"),
            plant=p.same_label,
        ),
        Fault("labels-beyond", "labels count from 1", ("crash",), ("labels-invalid",), plant=p.labels_beyond),
        Fault(
            "inputs-x255", "inputs 255 times too large", (*HIGH_LR,), ("inputs-unscaled",), plant=p.times_inputs(255)
        ),
        Fault(
            "inputs-shifted",
            "inputs with a mean of a hundred standard deviations",
            (*HIGH_LR,),
            ("inputs-unscaled",),
            plant=p.times_inputs(1.0, 100.0),
        ),
        Fault(
            "targets-x1000",
            "targets 1000 times too large",
            ("slow-loss", "stalled-loss", *BLOWN, "oscillating-loss"),
            ("targets-unscaled",),
            plant=p.times_targets(1000.0, 3000.0),
        ),
        Fault(
            "few-rows",
            "fifty rows and many steps",
            ("overfitting",),
            ("over-capacity",),
            lambda s: {"steps": 2 * s.steps, "batch_size": 25, "validations": 16},
            p.few_rows,
            harm="held-out loss",
        ),
        Fault("dropout", "dropout of 0.95", (*STUCK, *BLOWN), ("too-much-dropout",), lambda s: {"dropout": 0.95}),
        Fault(
            "nan-batch",
            "one batch holds a NaN",
            ("non-finite",),
            ("bad-batch",),
            plant=p.bad_batch(lambda x: x.clone().index_fill_(0, torch.tensor([0]), float("nan"))),
        ),
        Fault(
            "big-batch",
            "one batch 100 times too large",
            (
                "loss-spike",
                "diverging-loss",
                "stalled-loss",
                "dead-units",
                "slow-loss",
                "constant-output",
                "exploding-gradient",
            ),
            ("bad-batch", "stale-second-moment"),
            plant=p.bad_batch(lambda x: 100 * x),
            harm="spike",
        ),
        Fault(
            "wild-targets",
            "one batch with targets 100 times too large",
            ("loss-spike", *HIGH_LR),
            ("bad-batch", "stale-second-moment"),
            plant=p.wild_targets,
            harm="spike",
        ),
        Fault(
            "log-negative",
            "log of an output that may be negative",
            ("non-finite",),
            ("invalid-operation",),
            plant=p.log_of_negative,
        ),
        Fault(
            "log-zero",
            "log of a probability that may be zero",
            ("non-finite", "diverging-loss"),
            ("invalid-operation",),
            plant=p.log_of_zero,
        ),
        Fault("root-zero", "square root at zero", ("non-finite",), ("invalid-operation",), plant=p.root_of_zero),
        Fault(
            "where-trap",
            "square root of negative numbers, masked by where",
            ("non-finite",),
            ("invalid-operation",),
            plant=p.where_trap,
        ),
        Fault(
            "softmax-by-hand",
            "exp overflows in a softmax by hand",
            ("non-finite", *STUCK),
            ("precision-overflow", "invalid-operation"),
            plant=p.softmax_by_hand,
        ),
    )
}
