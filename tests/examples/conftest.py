"""Runs the examples inside the test process, which spares an import of PyTorch for each of some 200 runs."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
pytest.importorskip("networkx")

EXAMPLES = Path(__file__).parents[2] / "examples"
LINE = re.compile(r"(?:epoch|step) +(\d+)  train loss (\S+)  val loss (\S+)  val accuracy (\S+)")


class Line(NamedTuple):
    at: int
    train_loss: float
    val_loss: float
    val_accuracy: float


Run = Callable[..., list[Line]]


@pytest.fixture(autouse=True)
def _process_kept_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread (the models are tiny), `common` importable, and all of it undone."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)
    sys.modules.pop("common", None)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call as run("mlp", "--epochs 1"): the lines it printed; every line must have the documented form."""

    def run_example(name: str, flags: str = "") -> list[Line]:
        path = str(EXAMPLES / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, *flags.split()])
        runpy.run_path(path, run_name="__main__")
        matches = [LINE.fullmatch(line) for line in capsys.readouterr().out.splitlines()]
        assert matches
        assert all(matches)
        return [Line(int(m[1]), float(m[2]), float(m[3]), float(m[4])) for m in matches if m]

    return run_example
