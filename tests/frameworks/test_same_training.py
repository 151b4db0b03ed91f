"""The same model, data, initial weights and optimizer in every framework: the same vitals, the same verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trimtab.runs import Record

SCRIPTS = Path(__file__).parent / "same"
BACKENDS = ("tensorflow", "jax", "torch")
OTHERS = (*(f"keras on {backend}" for backend in BACKENDS), "optax")
# name -> (learning rate, scale of the inputs)
TRAININGS = {"healthy": ("0.1", "1"), "learning rate too high": ("100", "1"), "inputs unscaled": ("0.1", "1000")}
NEAR = {"rtol": 2e-4, "atol": 1e-6}  # over 20 steps, in float32


def run_of(where: str, way: str, training: str) -> tuple[Any, dict[str, Any]]:
    """The series and the verdict of one training; `where` is the directory for the records."""
    out = recorded(where, way, training)
    (series,) = Record.open(out).series()
    return series, json.loads((out / "verdict.json").read_text(encoding="utf-8"))


@cache
def recorded(where: str, way: str, training: str) -> Path:
    script, _, backend = way.partition(" on ")
    needed = {"keras": backend, "optax": "optax"}.get(script, "torch")
    pytest.importorskip("keras" if script == "keras" else needed)
    out = Path(where) / f"{way} {training}".replace(" ", "_")
    command = [sys.executable, "-m", "trimtab", "run", "--out", str(out), str(SCRIPTS / f"train_{script}.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [*command, *TRAININGS[training]], env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("same"))


@pytest.mark.parametrize("way", OTHERS)
def test_the_vitals_of_20_steps_are_those_of_pytorch(way, where):
    (torch, _), (other, _) = (run_of(where, name, "healthy") for name in ("torch", way))
    for quantity in ("loss", "grad_norm", "grad_norm_raw", "lr"):
        np.testing.assert_allclose(other.steps[quantity][:20], torch.steps[quantity][:20], **NEAR, err_msg=quantity)
    for quantity in ("step", "nonfinite", "skipped", "backwards"):
        np.testing.assert_array_equal(other.steps[quantity], torch.steps[quantity], err_msg=quantity)


@pytest.mark.parametrize("way", OTHERS)
def test_every_tensor_is_measured_alike_at_the_first_step(way, where):
    (torch, _), (other, _) = (run_of(where, name, "healthy") for name in ("torch", way))
    mine, theirs = by_size(other.tensors(0)), by_size(torch.tensors(0))
    assert mine["tensor"].size == theirs["tensor"].size == 4
    on_jax = way in ("optax", "keras on jax")
    extremes = () if on_jax else ("grad_max", "grad_zeros", "grad_nonfinite")
    for quantity in ("grad_norm", "weight_norm", "update_norm", *extremes):
        np.testing.assert_allclose(mine[quantity], theirs[quantity], **NEAR, err_msg=quantity)


@pytest.mark.parametrize("way", OTHERS)
def test_the_loss_function_is_read_alike_at_the_first_step(way, where):
    (torch, _), (other, _) = (run_of(where, name, "healthy") for name in ("torch", way))
    mine, theirs = other.losses, torch.losses
    for quantity in ("rows", "classes", "accuracy", "chance", "output_mean", "output_std", "target_max"):
        np.testing.assert_allclose(mine[quantity][0], theirs[quantity][0], **NEAR, err_msg=quantity)
    assert mine["kind"][0] == theirs["kind"][0] == "cross_entropy"
    if way != "optax":  # whose functions return a loss for each row
        np.testing.assert_allclose(mine["value"][0], theirs["value"][0], **NEAR)


@pytest.mark.parametrize("way", [way for way in OTHERS if way != "optax"])
def test_every_layer_is_measured_alike_at_the_first_step(way, where):
    (torch, _), (other, _) = (run_of(where, name, "healthy") for name in ("torch", way))
    mine, theirs = other.modules(0), torch.modules(0)
    for rows in (mine, theirs):
        assert list(rows["weighted"]).count(True) == 2
    for quantity in ("in_rms", "in_spread", "in_max", "out_rms", "grad_rms"):
        np.testing.assert_allclose(
            mine[quantity][mine["weighted"]], theirs[quantity][theirs["weighted"]], **NEAR, err_msg=quantity
        )


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("way", OTHERS)
def test_the_verdict_is_that_of_pytorch(way, training, where):
    if way == "optax" and training == "inputs unscaled":
        pytest.skip("a plain function has no layers whose inputs could be seen")
    (_, torch), (_, other) = (run_of(where, name, training) for name in ("torch", way))
    assert other["outcome"] == torch["outcome"]
    assert summary(other) == summary(torch)


def by_size(rows: Any) -> dict[str, Any]:
    """Tensors have other names, order and orientation elsewhere: sorted by their gradient's norm."""
    order = np.argsort(rows["grad_norm"])
    return {name: column[order] for name, column in rows.items()}


def summary(verdict: dict[str, Any]) -> list[Any]:
    return [
        (
            finding["kind"],
            finding["severity"],
            finding["first_step"],
            finding["causes"][:1] and finding["causes"][0]["cause"],
        )
        for finding in verdict["findings"]
    ]
