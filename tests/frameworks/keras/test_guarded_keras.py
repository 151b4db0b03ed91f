"""Guarded Keras trainings: as without a guard where it need not act, as without the bad batch where it skips."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KERAS = importlib.util.find_spec("keras") is not None
BACKENDS = [name for name in ("tensorflow", "jax") if KERAS and importlib.util.find_spec(name) is not None]
ROOT = Path(__file__).resolve().parents[3]
CLIPS = ("clip=global:0.1,epsilon=0", "clip=tensor:0.1,epsilon=0", "clip=value:0.1")


@pytest.fixture(scope="module", params=BACKENDS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the cases of `_guarded_cases` come to on one backend: {"plain", "guarded", "said"}."""
    out = tmp_path_factory.mktemp(str(request.param)) / "cases.json"
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    env = {**os.environ, "KERAS_BACKEND": str(request.param), "PYTHONPATH": str(ROOT), **quiet}
    command = [sys.executable, "-m", "tests.frameworks.keras._guarded_cases", str(out)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == ""
    return {**json.loads(out.read_text(encoding="utf-8")), "said": done.stderr}


def trainings(found: dict[str, Any]) -> list[str]:
    """Ways to run a step and optimizers: "compiled adamw"."""
    return [name for name in found["plain"] if " " in name and not name.endswith(" without")]


def test_where_no_policy_acts_no_bit_changes(found: dict[str, Any]) -> None:
    for name in trainings(found):
        guarded = found["guarded"][name]
        assert guarded["errors"] == []
        assert guarded["left"] == found["plain"][name], name
        assert [row for row in guarded["guard"] if row["skipped"] or row.get("scale", 1.0) != 1.0] == []


def test_a_skip_is_as_if_the_batch_had_not_been(found: dict[str, Any]) -> None:
    """Weights, moments, counts, averages and gradients put by, to the bit."""
    for name in (f"{training} without" for training in trainings(found)):
        guarded = found["guarded"][name]
        assert guarded["left"] == found["plain"][name], name
        skipped = [row["step"] for row in guarded["guard"] if row["skipped"]]
        assert skipped == [1 if "accumulated" in name else 3]
        assert [row["step"] for row in guarded["steps"] if row["skipped"]] == skipped


def test_a_clip_is_keras_own(found: dict[str, Any]) -> None:
    for policy in CLIPS:
        guarded = found["guarded"][policy]
        for ours, theirs in zip(guarded["left"], found["plain"][policy], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=2e-8)
        assert len(guarded["guard"]) == 6
        assert all(row["grad_norm"] < row["grad_norm_raw"] for row in guarded["steps"])


def test_behind_the_optimizers_own_clip_norms_are_those_that_are_applied(found: dict[str, Any]) -> None:
    rows = found["guarded"]["own clip"]["steps"]
    assert all(row["grad_norm_raw"] > 0.1 for row in rows)
    assert [row["grad_norm"] for row in rows] == pytest.approx([0.02] * len(rows), rel=0.05)  # four tensors of 0.01


def test_norms_are_those_without_the_loss_scalers_factor(found: dict[str, Any]) -> None:
    rows = found["guarded"]["scaled and clipped"]["steps"]
    assert [row["grad_norm"] for row in rows] == pytest.approx([0.1] * len(rows), rel=1e-3)


def test_what_is_saved_knows_nothing_of_the_guard(found: dict[str, Any]) -> None:
    assert found["guarded"]["saved"] == found["plain"]["saved"]


def test_a_policy_that_fails_leaves_the_training_unguarded_and_says_so_once(found: dict[str, Any]) -> None:
    assert found["guarded"]["fails"]["errors"] == []
    assert found["said"].count("RuntimeError: planted; the training goes on unguarded") == 1
    assert np.isfinite(np.concatenate([np.ravel(v) for v in found["guarded"]["fails"]["left"]])).all()


def test_what_acts_on_the_host_is_refused_in_words(found: dict[str, Any]) -> None:
    assert found["said"].count("acts on the host, between steps") == 1


def test_a_training_that_is_lost_is_given_up_in_words(found: dict[str, Any]) -> None:
    assert "all of the last 50 steps were left out: weights are not finite" in found["said"]
