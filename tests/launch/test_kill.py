"""`kill -9` of a real training, its supervisor or its recorder; fifty of them: benchmarks/kill.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from .test_signals import LINUX

pytest.importorskip("torch")
KILL = Path(__file__).parents[2] / "benchmarks" / "kill.py"


@pytest.fixture(scope="module")
def kill():
    spec = importlib.util.spec_from_file_location("kill", KILL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@LINUX
@pytest.mark.parametrize("victim", ["training", "supervisor", "recorder"])
@pytest.mark.parametrize("seconds", [0.1, 1.4])
def test_whoever_is_killed_each_flushed_row_is_there_and_a_verdict(kill, tmp_path, victim, seconds):
    done = kill.trial(tmp_path / "trial", victim, seconds)
    assert done.verdict_by == ("trimtab show" if victim == "recorder" else "recorder")
