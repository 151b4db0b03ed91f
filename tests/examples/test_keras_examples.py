"""The examples in Keras train on each backend, and their flags do what they say."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
from several import EXAMPLES, Output, run_all

pytest.importorskip("keras")
pytestmark = pytest.mark.timeout(900)  # of a whole backend, on a busy machine

OPTIMIZERS = [
    "sgd",
    "momentum",
    "nesterov",
    "adam",
    "adamw",
    "nadam",
    "adamax",
    "amsgrad",
    "adagrad",
    "adadelta",
    "rmsprop",
]
LOG10 = math.log(10)

# Shorter than the defaults; the bars (a loss, a score) are those of the shorter run.
TRAINS = {
    "mlp.py --epochs 8": (0.3, 0.92),
    "vgg.py --epochs 2": (1.0, 0.7),
    "resnet.py --epochs 3 --depth 4": (0.4, 0.88),
    "lstm.py --length 10 --steps 250 --samples 4000": (0.06, 0.1),
    "gcn.py --epochs 20": (0.4, 0.9),
    "transformer.py --steps 100": (1.4, 0.5),
    "first_network.py --epochs 10": (0.3, 0.75),
}
BLOWS_UP = [
    "mlp.py --epochs 1 --init normal:1 --depth 10 --optimizer sgd --lr 0.01",
    "gcn.py --epochs 2 --init normal:10 --depth 6 --optimizer sgd --lr 10",
    "transformer.py --steps 20 --norm none --init normal:0.3 --optimizer sgd --lr 0.1",
    "first_network.py --epochs 1 --optimizer sgd --lr 10 --clip none",
]
BLOWS_UP_ON_ONE = [
    "vgg.py --epochs 1 --activation leaky_relu --init normal:1 --optimizer sgd --lr 0.1",
    "resnet.py --epochs 1 --norm none --init he --depth 30 --width 8",
    "lstm.py --steps 10 --samples 2000 --cell rnn --activation relu --init normal:0.3 --clip none --optimizer sgd",
    "first_network.py --epochs 1 --activation leaky_relu --optimizer sgd --lr 0.01 --raw-targets --clip none",
]
TINY = "mlp.py --epochs 1 --val-share 0.92 --width 8"
ONE_STEP = "first_network.py --epochs 1 --dropout 0 --depth 3 --batch-size 2000 --lr 1e-9"
STILL = f"{TINY} --optimizer sgd --lr 1e-9"
LOST = "mlp.py --epochs 1 --lr 1e3"
DEEP_SIGMOIDS = "mlp.py --epochs 1 --activation sigmoid --depth 10"
AUGMENTED = ["gcn.py --epochs 1 --augment drop_edge", f"{TINY} --augment rotate", f"{TINY} --augment crop"]
CLIPPED = [f"{TINY} --optimizer sgd --lr 1 --clip {kind}:1e-9" for kind in ("norm", "value", "variable")]
ON_EACH_BACKEND = [
    *TRAINS,
    *BLOWS_UP,
    TINY,
    f"{TINY} --seed 0",
    f"{TINY} --seed 1",
    f"{ONE_STEP} --init constant:0.05",
    f"{ONE_STEP} --init constant:0.05 --raw-targets",
    f"{ONE_STEP} --activation sigmoid --init xavier --depth 10",
]
ON_ONE = [  # flags that a backend does not take part in
    *[f"{TINY} --optimizer {name}" for name in OPTIMIZERS],
    *CLIPPED,
    STILL,
    TINY,
    *BLOWS_UP_ON_ONE,
    LOST,
    DEEP_SIGMOIDS,
    *AUGMENTED,
    f"{TINY} --save weights.h5",
    f"{TINY} --optimizer lbfgs",
]


@pytest.fixture(scope="module", params=["tensorflow", "jax", "torch"])
def ran(request: pytest.FixtureRequest) -> dict[str, Output]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return run_all("keras", ON_EACH_BACKEND, KERAS_BACKEND=request.param)


@pytest.fixture(scope="module")
def ran_once() -> dict[str, Output]:
    return run_all("keras", ON_ONE, KERAS_BACKEND="torch")


@pytest.mark.parametrize("command", TRAINS)
def test_each_example_trains(ran: dict[str, Output], command: str) -> None:
    loss, score = TRAINS[command]
    last = ran[command].lines[-1]
    assert last.val_loss < loss
    assert last.score > score


@pytest.mark.parametrize("command", BLOWS_UP)
def test_what_is_said_to_blow_up_is_nan(ran: dict[str, Output], command: str) -> None:
    assert math.isnan(ran[command].lines[-1].val_loss)


@pytest.mark.parametrize("command", BLOWS_UP_ON_ONE)
def test_what_is_said_to_blow_up_is_nan_on_one(ran_once: dict[str, Output], command: str) -> None:
    assert math.isnan(ran_once[command].lines[-1].val_loss)


def test_a_learning_rate_of_1000_loses_the_loss(ran_once: dict[str, Output]) -> None:
    assert not ran_once[LOST].lines[-1].val_loss < 10 * LOG10


def test_deep_sigmoids_stay_at_chance(ran_once: dict[str, Output]) -> None:
    assert ran_once[DEEP_SIGMOIDS].lines[-1].val_loss == pytest.approx(LOG10, rel=0.1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains(ran_once: dict[str, Output], name: str) -> None:
    line = ran_once[f"{TINY} --optimizer {name}"].lines[-1]
    assert math.isfinite(line.val_loss)
    if name != "adadelta":  # which starts with steps too small to be seen in four digits
        assert line != ran_once[STILL].lines[-1]


@pytest.mark.parametrize("command", CLIPPED)
def test_every_clip_holds_the_weights_where_they_are(ran_once: dict[str, Output], command: str) -> None:
    assert ran_once[command].lines[-1].val_loss == ran_once[STILL].lines[-1].val_loss


@pytest.mark.parametrize("command", AUGMENTED)
def test_augmentation_changes_the_training(ran_once: dict[str, Output], command: str) -> None:
    line = ran_once[command].lines[-1]
    assert math.isfinite(line.val_loss)
    assert line != ran_once[TINY].lines[-1]


def test_a_flag_that_keras_does_not_have_is_refused_with_those_that_it_has(ran_once: dict[str, Output]) -> None:
    assert "--save must end in .keras, got weights.h5" in ran_once[f"{TINY} --save weights.h5"].err
    assert "invalid choice: 'lbfgs' (choose from" in ran_once[f"{TINY} --optimizer lbfgs"].err


def test_a_run_repeats_itself_and_a_seed_changes_it(ran: dict[str, Output]) -> None:
    assert ran[TINY].lines
    assert ran[TINY].out == ran[f"{TINY} --seed 0"].out
    assert ran[TINY].out != ran[f"{TINY} --seed 1"].out


# --- first_network.py -----------------------------------------------------------------------------


def gradient_lengths(output: Output) -> list[float]:
    """Of the table before training: the length of the gradient of each weight, in order."""
    return [float(row[-3]) for row in table_before(output)]


def table_before(output: Output) -> list[list[str]]:
    before, _ = output.out.split("\ntraining:\n")
    return [line.split() for line in before.splitlines() if "/" in line]


def test_ten_sigmoids_lose_their_gradient_on_the_way_back(ran: dict[str, Output]) -> None:
    lengths = gradient_lengths(ran[f"{ONE_STEP} --activation sigmoid --init xavier --depth 10"])
    assert lengths[0] < 1e-3 * lengths[-2]


@pytest.mark.parametrize("targets", ["", " --raw-targets"])
def test_the_printed_gradients_are_those_of_numpy(ran: dict[str, Output], targets: str) -> None:
    command = f"{ONE_STEP} --init constant:0.05{targets}"
    expected = numpy_gradient_lengths(1000.0 if targets else None)
    assert gradient_lengths(ran[command]) == pytest.approx(expected, rel=6e-3)  # three digits are printed


def numpy_gradient_lengths(target_unit: float | None) -> list[float]:
    """The same derivative worked out by hand: three ReLU layers of 64, all weights 0.05, all biases 0."""
    np = pytest.importorskip("numpy")
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.make_friedman1(2500, n_features=10, noise=0.5, random_state=0)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = (y - y.mean()) / y.std() if target_unit is None else y * target_unit
    x, y = x[:2000], y[:2000, None]
    weights = [np.full(shape, 0.05) for shape in [(10, 64), (64, 64), (64, 64), (64, 1)]]
    inputs = [x]
    for w in weights[:-1]:
        inputs.append(np.maximum(inputs[-1] @ w, 0))
    delta = 2 * (inputs[-1] @ weights[-1] - y) / len(y)
    lengths: list[float] = []
    for w, a in zip(reversed(weights), reversed(inputs), strict=True):
        lengths[:0] = [float(np.linalg.norm(a.T @ delta)), float(np.linalg.norm(delta.sum(axis=0)))]
        delta = (delta @ w.T) * (a > 0)
    return lengths


def test_the_normalised_gradients_have_length_one(ran: dict[str, Output]) -> None:
    shares = [float(row[-1]) for row in table_before(ran[f"{ONE_STEP} --init constant:0.05"])]
    assert math.hypot(*shares) == pytest.approx(1, rel=1e-2)


# --- what a reader is promised --------------------------------------------------------------------


@pytest.mark.parametrize("file", sorted([*EXAMPLES.glob("keras/*.py"), *EXAMPLES.glob("optax/*.py")]), ids=str)
def test_no_example_knows_of_trimtab(file: Path) -> None:
    assert "trimtab" not in file.read_text()
