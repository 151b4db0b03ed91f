"""The defaults train, from a loss near chance; the commands of the tour go wrong in the way it says."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .conftest import Run

EXAMPLES = Path(__file__).parents[2] / "examples"
LOG10 = math.log(10)
ALL_EXAMPLES = """
import runpy, sys
folder = sys.argv[1]
for name in ["mlp", "vgg", "resnet", "lstm", "gcn", "transformer"]:
    few = ["--steps", "4"] if name in ("lstm", "transformer") else ["--epochs", "1"]
    more = ["--augment", "rotate"] if name in ("mlp", "vgg", "resnet") else []
    sys.argv = [name + ".py", *few, *more, "--save", f"{folder}/{name}.pt"]
    runpy.run_path(name + ".py", run_name="__main__")
"""

sys.path.insert(0, str(EXAMPLES))
from tour import STOPS, Stop, between_marks  # noqa: E402

sys.path.remove(str(EXAMPLES))


# Shorter than the defaults where those take long; the bars are those of the shorter run.
@pytest.mark.parametrize(
    ("name", "flags", "loss", "accuracy"),
    [
        ("mlp", "", 0.25, 0.95),
        ("vgg", "--epochs 5", 0.3, 0.9),
        ("resnet", "--epochs 3", 0.3, 0.9),
        ("lstm", "--length 20 --steps 400", 0.02, 0.2),
        ("gcn", "", 0.3, 0.9),
        ("transformer", "--steps 120", 1.0, 0.6),
    ],
)
def test_the_defaults_train(run: Run, name: str, flags: str, loss: float, accuracy: float) -> None:
    last = run(name, flags)[-1]
    assert last.val_loss < loss
    assert last.val_accuracy > accuracy


@pytest.mark.parametrize(
    ("name", "flags", "chance"),
    [
        ("mlp", "--epochs 1", LOG10),
        ("vgg", "--epochs 1", LOG10),
        ("resnet", "--epochs 1 --norm none", LOG10),  # batch norm's averages are not of use yet in eval mode
        ("lstm", "--steps 1", 1 / 6),
        ("gcn", "--epochs 1", math.log(4)),
        ("transformer", "--steps 1", math.log(21)),
    ],
)
def test_the_loss_starts_near_chance(run: Run, name: str, flags: str, chance: float) -> None:
    line = run(name, f"{flags} --optimizer sgd --lr 1e-12")[-1]
    assert line.val_loss == pytest.approx(chance, rel=0.3)


def test_two_runs_print_and_save_the_same(tmp_path: Path) -> None:
    """In two fresh processes, with the threads that PyTorch chooses, and nothing on stderr."""
    outputs = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        done = subprocess.run(
            [sys.executable, "-c", ALL_EXAMPLES, tmp_path / folder], cwd=EXAMPLES, capture_output=True, check=True
        )
        assert done.stderr == b""
        weights = {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()}
        assert len(weights) == 6
        outputs.append((done.stdout, weights))
    assert outputs[0] == outputs[1]


def test_a_seed_changes_the_training(run: Run) -> None:
    assert run("mlp", "--epochs 1 --seed 1") != run("mlp", "--epochs 1 --seed 2")


# --- the tour -----------------------------------------------------------------------------------


def stops(becomes: str) -> list[Any]:
    return [pytest.param(s, id=s.command.replace(" ", "_")) for s in STOPS if s.becomes == becomes]


def one_line(stop: Stop) -> tuple[str, str]:
    """The example and its flags, cut to few steps."""
    script, _, flags = stop.command.partition(" ")
    name = script.removesuffix(".py")
    return name, f"{flags} {'--steps 10' if name in ('lstm', 'transformer') else '--epochs 1'}"


@pytest.mark.parametrize("stop", stops("blows up"))
def test_what_is_said_to_blow_up_is_nan_after_an_epoch_or_ten_steps(run: Run, stop: Stop) -> None:
    assert math.isnan(run(*one_line(stop))[-1].val_loss)


@pytest.mark.parametrize("stop", stops("vanishes"))
def test_what_is_said_to_vanish_loses_two_decades_of_its_gradient_backward(run: Run, stop: Stop) -> None:
    with first_gradients() as gradients:
        run(*one_line(stop))
    assert math.log10(gradients[0] / gradients[-1]) < -2


@pytest.mark.parametrize(
    "name", ["mlp", "vgg", "resnet", "gcn", "transformer"]
)  # the LSTM's layer is one call, which hides its steps
def test_the_defaults_neither_vanish_nor_explode(run: Run, name: str) -> None:
    with first_gradients() as gradients:
        run(*one_line(Stop(f"{name}.py", "trains", "")))
    assert abs(math.log10(gradients[0] / gradients[-1])) < 2


@contextmanager
def first_gradients() -> Iterator[list[float]]:
    """Filled with the rms of the loss's gradient by the outputs of the layers, in forward order, at the first step.

    Of a layer that is called once per time step, every call is one entry, and the other layers are left out.
    """
    calls: dict[nn.Module, list[Tensor]] = defaultdict(list)
    order: list[nn.Module] = []
    gradients: list[float] = []
    backward: Callable[..., None] = Tensor.backward

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
        layer = isinstance(module, nn.Linear | nn.Conv2d) or type(module).__name__ == "Block"
        if layer and not gradients and torch.is_grad_enabled() and output.requires_grad:
            output.retain_grad()
            calls[module].append(output)
            order.append(module)

    def backward_then_read(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        backward(loss, *args, **kwargs)
        if not gradients:
            gradients.extend(map(rms_of_gradient, chosen()))

    def chosen() -> list[Tensor]:
        repeated = [outputs for outputs in calls.values() if len(outputs) > 1]
        if repeated:
            return repeated[0]
        blocks = [m for m in order if type(m).__name__ == "Block"]
        return [calls[m][0] for m in blocks or order[:-1]]  # the last layer's output is the answer

    hook = nn.modules.module.register_module_forward_hook(keep)
    Tensor.backward = backward_then_read  # type: ignore[method-assign,assignment]
    try:
        yield gradients
    finally:
        hook.remove()
        Tensor.backward = backward  # type: ignore[method-assign]


def rms_of_gradient(output: Tensor) -> float:
    assert output.grad is not None
    return float(output.grad.double().pow(2).mean().sqrt())


def test_the_readme_shows_every_stop_of_the_tour() -> None:
    text = (EXAMPLES / "README.md").read_text()
    assert [s.command for s in STOPS if f"| `{s.command}` |" not in text] == []


def test_the_table_goes_between_the_marks() -> None:
    text = "a\n<!-- tour: start -->\nold\n<!-- tour: end -->\nb\n"
    assert between_marks(text, "new") == text.replace("old", "new")
    with pytest.raises(SystemExit, match="must hold the lines"):
        between_marks("no marks", "new")
