"""The examples in optax and flax train, and their flags do what they say."""

from __future__ import annotations

import math

import pytest
from several import Output, run_all

for package in ("jax", "flax", "optax"):
    pytest.importorskip(package)

OPTIMIZERS = [
    "sgd",
    "momentum",
    "nesterov",
    "adam",
    "adamw",
    "nadam",
    "radam",
    "adamax",
    "amsgrad",
    "adagrad",
    "adadelta",
    "rmsprop",
]
TINY = "mlp.py --epochs 1 --val-share 0.92 --width 8"
STILL = f"{TINY} --optimizer sgd --lr 1e-9"
CLIPPED = [f"{TINY} --optimizer sgd --lr 1 --clip {kind}:1e-9" for kind in ("norm", "value")]
TRAINS = {"mlp.py --epochs 6": (0.3, 0.92), "transformer.py --steps 100": (1.4, 0.5)}
BLOWS_UP = [
    "mlp.py --epochs 1 --init normal:1 --depth 10 --optimizer sgd --lr 0.01",
    "transformer.py --steps 20 --depth 1 --norm none --init normal:0.3 --optimizer sgd --lr 0.1",
]
COMMANDS = [
    *TRAINS,
    *BLOWS_UP,
    *[f"{TINY} --optimizer {name} --weight-decay 0.01" for name in OPTIMIZERS],
    *CLIPPED,
    STILL,
    TINY,
    f"{TINY} --seed 0",
    f"{TINY} --jit off",
    f"{TINY} --optimizer lbfgs",
]


@pytest.fixture(scope="module")
def ran() -> dict[str, Output]:
    return run_all("optax", COMMANDS)


@pytest.mark.parametrize("command", TRAINS)
def test_each_example_trains(ran: dict[str, Output], command: str) -> None:
    loss, accuracy = TRAINS[command]
    last = ran[command].lines[-1]
    assert last.val_loss < loss
    assert last.score > accuracy


@pytest.mark.parametrize("command", BLOWS_UP)
def test_what_is_said_to_blow_up_is_nan(ran: dict[str, Output], command: str) -> None:
    assert math.isnan(ran[command].lines[-1].val_loss)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains(ran: dict[str, Output], name: str) -> None:
    line = ran[f"{TINY} --optimizer {name} --weight-decay 0.01"].lines[-1]
    assert math.isfinite(line.val_loss)
    if name != "adadelta":  # which starts with steps too small to be seen in four digits
        assert line != ran[STILL].lines[-1]


@pytest.mark.parametrize("command", CLIPPED)
def test_every_clip_holds_the_weights_where_they_are(ran: dict[str, Output], command: str) -> None:
    assert ran[command].lines[-1].val_loss == ran[STILL].lines[-1].val_loss


def test_a_run_repeats_itself(ran: dict[str, Output]) -> None:
    assert ran[TINY].lines
    assert ran[TINY] == ran[f"{TINY} --seed 0"]


def test_without_jit_it_trains_the_same(ran: dict[str, Output]) -> None:
    assert ran[f"{TINY} --jit off"].lines[-1] == pytest.approx(ran[TINY].lines[-1], rel=1e-2)


def test_an_optimizer_that_needs_more_than_gradients_is_refused(ran: dict[str, Output]) -> None:
    assert "invalid choice: 'lbfgs' (choose from" in ran[f"{TINY} --optimizer lbfgs"].err
