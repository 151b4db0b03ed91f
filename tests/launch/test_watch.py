"""`trimtab.watch` and `trimtab.log` in code that is already running."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

import trimtab

from .conftest import Bench

BLOCK = """
import os, sys, trimtab
before = sys.excepthook, os.environ.get("TRIMTAB_SESSION")
with trimtab.watch(out=sys.argv[1], metrics=["loss"]) as run:
    with trimtab.watch() as inner:
        assert inner is run or "TRIMTAB_SESSION" in os.environ
    print("loss: 3")
    trimtab.log(acc=0.5)
print("x", os.environ.get("TRIMTAB_SESSION") == before[1])
print(run.path, run.verdict and run.verdict["outcome"])
trimtab.log(acc=0.6)
print("loss: 4")
"""


def recorded(run: Path) -> list[tuple[str, float, str]]:
    from trimtab.runs import Record

    columns = Record.open(run).metrics()
    return list(zip(*(columns[name].tolist() for name in ("name", "value", "source")), strict=True))


def test_a_block_is_recorded(bench: Bench) -> None:
    bench.write({"script.py": BLOCK})
    outcome = bench.plain(["script.py", "run"])
    run = bench.directory / "run"
    assert outcome.status == 0, outcome.stderr
    assert outcome.stdout == f"loss: 3\nx True\n{run} unjudged\nloss: 4\n"
    assert recorded(run) == [("loss", 3.0, "stdout"), ("acc", 0.5, "log")]


def test_a_block_after_a_block(bench: Bench) -> None:
    bench.write(
        {
            "script.py": (
                "import trimtab\nfor out in 'ab':\n"
                "    with trimtab.watch(out=out) as run:\n        trimtab.log(x=ord(out))\n"
                "    assert run.verdict, run\n"
            )
        }
    )
    assert bench.plain(["script.py"]).status == 0
    assert recorded(bench.directory / "a") == [("x", 97.0, "log")]
    assert recorded(bench.directory / "b") == [("x", 98.0, "log")]


def test_inside_of_trimtab_run_it_changes_nothing(bench: Bench) -> None:
    bench.write({"script.py": BLOCK})
    outcome = bench.watched(["script.py", "inner"], ours=["--out", "run"])
    assert outcome.status == 0, outcome.stderr
    assert not (bench.directory / "inner").exists()
    assert [row[:2] for row in recorded(bench.directory / "run")] == [("acc", 0.5), ("acc", 0.6)]


def test_an_error_in_the_block_is_recorded_and_goes_on(bench: Bench) -> None:
    bench.write({"script.py": "import trimtab\nwith trimtab.watch(out='run'):\n    raise ValueError('boom')\n"})
    outcome = bench.plain(["script.py"])
    assert outcome.status == 1
    assert outcome.stderr.endswith("ValueError: boom\n")
    assert '"crashed"' in (bench.directory / "run" / "verdict.json").read_text()


def test_a_taken_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(trimtab.TrimtabError, match="not empty"):
        trimtab.watch(tmp_path)


@pytest.mark.parametrize("value", [1, 0.5, True, np.float32(2), np.array(3.0), Decimal(1), float("nan")])
def test_numbers_can_be_logged_where_nothing_watches(value: object) -> None:
    assert trimtab.log(value=value) is None


@pytest.mark.parametrize("value", ["1", None, [1.0], {}, b"1", np.array([1.0, 2.0]), 1j])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"trimtab\.log takes numbers, got (acc=|acc of type)"):
        trimtab.log(acc=value)


def test_a_recorder_that_cannot_start_costs_the_record_only(bench: Bench) -> None:
    bench.write(
        {
            "script.py": "import sys, trimtab\nsys.executable = '/nowhere'\n"
            "with trimtab.watch() as run:\n    print(run.path)\n"
        }
    )
    outcome = bench.run([sys.executable, "script.py"])
    assert (outcome.status, outcome.stdout) == (0, "None\n")
    assert outcome.stderr.startswith("trimtab: cannot record: FileNotFoundError")
