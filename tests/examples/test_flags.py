"""Every value of every flag is taken, and what is not allowed is refused with what is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from .conftest import Run

# Two steps of a tiny model each.
TINY = {
    "mlp": "--epochs 1 --val-share 0.92 --width 8",
    "vgg": "--epochs 1 --val-share 0.92 --width 2 --depth 4",
    "resnet": "--epochs 1 --val-share 0.92 --width 2 --depth 2",
    "lstm": "--steps 2 --samples 200 --length 6 --width 8",
    "gcn": "--epochs 1 --batch-size 100 --width 8",
    "transformer": "--steps 2 --batch-size 4 --width 8 --val-share 0.01",
}
VALUES = {
    "--activation": "sigmoid tanh relu leaky_relu gelu",
    "--init": "default he xavier lecun orthogonal normal:0.1 constant:0.1 constant:-0.1",
    "--norm": "none batch layer",
    "--optimizer": ("sgd momentum nesterov adam adamw nadam radam adamax amsgrad adagrad adadelta rmsprop lbfgs"),
    "--clip": "none norm:1.0 value:0.5",
    "--augment": "none rotate crop drop_edge",
    "--weight-decay": "0 0.01",
    "--cell": "lstm rnn",
    "--depth": "1 3",
    "--no-skip": "",
}
MISSING = {
    *[(name, "--norm", "batch") for name in ("lstm", "transformer")],
    *[(name, "--augment", value) for name in ("mlp", "vgg", "resnet") for value in ("drop_edge",)],
    *[("gcn", "--augment", value) for value in ("rotate", "crop")],
}


def values(name: str, flag: str) -> list[str]:
    if flag == "--augment" and name in ("lstm", "transformer"):
        return []
    if (flag == "--cell" and name != "lstm") or (flag == "--no-skip" and name != "transformer"):
        return []
    return [v for v in VALUES[flag].split() or [""] if (name, flag, v) not in MISSING]


@pytest.mark.parametrize("flag", VALUES)
@pytest.mark.parametrize("name", TINY)
def test_every_value_is_taken_and_the_first_losses_are_finite(run: Run, name: str, flag: str) -> None:
    for value in values(name, flag):
        line = run(name, f"{TINY[name]} {flag} {value}")[-1]
        assert all(map(math.isfinite, line)), (flag, value, line)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--init normal:-1", "--init: must be default, he, xavier, lecun, orthogonal, normal:STD (STD > 0) or"),
        ("--init normal", "constant:VALUE, got 'normal'"),
        ("--init normal:nan", "got 'normal:nan'"),
        ("--init he:2", "got 'he:2'"),
        ("--init constant:x", "got 'constant:x'"),
        ("--clip norm:0", "--clip: must be none, norm:LIMIT or value:LIMIT (LIMIT > 0), got 'norm:0'"),
        ("--clip 1.0", "got '1.0'"),
        ("--lr 0", "--lr: must be a number above 0, got '0'"),
        ("--lr inf", "got 'inf'"),
        ("--weight-decay -1", "--weight-decay: must be a number of at least 0, got '-1'"),
        ("--optimizer lbfgs --weight-decay 0.1", "must be 0 or left out with --optimizer lbfgs, got 0.1"),
        ("--val-share 1", "--val-share: must be a number between 0 and 1, both excluded, got '1'"),
        ("--depth 0", "--depth: must be a whole number of at least 1, got '0'"),
        ("--batch-size 1.5", "--batch-size: must be a whole number of at least 1, got '1.5'"),
        ("--seed -1", "--seed: must be a whole number from 0 to 4294967295, got '-1'"),
        ("--save no/such/place", "--save: must be a file name in a directory that exists, got"),
        ("--optimizer sdg", "--optimizer: invalid choice: 'sdg' (choose from"),
        ("--activation swish", "--activation: invalid choice: 'swish' (choose from"),
    ],
)
@pytest.mark.parametrize("name", ["mlp", "lstm", "resnet"])
def test_a_bad_value_is_refused_with_what_is_allowed(
    run: Run, capsys: pytest.CaptureFixture[str], name: str, flags: str, says: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(name, flags)
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "flags", "says"),
    [
        ("transformer", "--width 10", "--width must be a multiple of 4, the number of heads, got 10"),
        ("lstm", "--length 1", "--length must be at least 2, for two marked numbers, got 1"),
        ("lstm", "--samples 1", "--samples must be at least 2, got 1"),
    ],
)
def test_a_script_refuses_what_its_model_cannot_do(
    run: Run, capsys: pytest.CaptureFixture[str], name: str, flags: str, says: str
) -> None:
    with pytest.raises(SystemExit):
        run(name, flags)
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("share", ["0.0001", "0.9999"])
def test_both_sides_of_the_split_keep_an_example(run: Run, name: str, share: str) -> None:
    lines = run(name, f"{TINY[name]} --val-share {share} --norm none")
    assert lines
    assert all(math.isfinite(line.val_loss) for line in lines)


@pytest.mark.parametrize("name", TINY)
def test_save_writes_the_trained_state_dict(run: Run, tmp_path: Path, name: str) -> None:
    run(name, f"{TINY[name]} --save {tmp_path / 'weights.pt'}")
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert state
    assert all(torch.isfinite(t).all() for t in state.values())
