"""Arithmetic, capacity and the process: each fault is found, and not where it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trimtab.findings.causes import EXACT, STRONG, WEAK

from ._records import N, clue, flat, run, shapes, trained, weights


def nan_at(step: int, forward: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"events": [{"kind": "nonfinite", "step": step, "data": {"forward": forward, **more}}]}


def exception(kind: str, message: str) -> dict[str, Any]:
    return {"events": [{"kind": "exception", "data": {"type": kind, "message": message}}], "meta": {"status": 1}}


@pytest.mark.parametrize(
    ("op", "what", "cause", "word"),
    [
        ("log", "log of a value that is not positive", "invalid-operation", "log of 0"),
        ("sqrt", "square root at zero", "invalid-operation", "slope of sqrt"),
        ("rsqrt", "1/sqrt of a value that is not positive", "invalid-operation", "1/sqrt of 0"),
        ("div", "division by zero", "invalid-operation", "division by 0"),
        ("linalgvectornorm", "norm of a zero vector", "invalid-operation", "slope of a norm"),
        ("where", "", "invalid-operation", "0 times infinity"),
        ("exp", "exp beyond the range", "precision-overflow", "exp overflows"),
        ("mul", "its result is not finite", "precision-overflow", "result of mul"),
    ],
)
def test_the_operation_that_the_event_names(op, what, cause, word):
    forward = {"op": op, "what": what, "input": {"nonfinite": 0, "entries": 64, "min": 0.0, "max": 0.9}}
    planted = run(**nan_at(40, forward))
    found = clue(cause, planted, "non-finite", 40)
    assert found is not None
    assert word in found.why
    assert "(entries 0 to 0.9)" in found.why
    other = "precision-overflow" if cause == "invalid-operation" else "invalid-operation"
    assert clue(other, planted, "non-finite", 40) is None


def test_a_log_softmax_is_no_logarithm_of_zero():
    assert clue("invalid-operation", run(**nan_at(40, {"op": "logsoftmax", "what": ""})), "non-finite", 40) is None


def test_an_operation_after_a_growth_is_no_proof():
    grew = np.where(np.arange(N) < 30, 1.0, 1e5)
    found = clue("invalid-operation", run(grad_norm=grew, **nan_at(40, {"op": "log"})), "non-finite", 40)
    assert found is not None
    assert found.strength == STRONG


def test_weights_that_begin_non_finite():
    found = clue("invalid-operation", run(**nan_at(0, weights_nonfinite=["a.weight"])), "non-finite", 0)
    assert found is not None
    assert found.strength == EXACT


def test_float16_without_a_scaler():
    found = clue("precision-overflow", run(info=shapes(dtype="float16")), "non-finite", 40)
    assert found is not None
    assert found.remedies == ("precision=bf16",)
    assert clue("precision-overflow", run(info=shapes(dtype="float16"), loss_scale=1024.0), "non-finite", 40) is None
    assert clue("precision-overflow", run(info=shapes()), "non-finite", 40) is None


def test_a_scaler_that_withholds_ten_steps_in_a_row():
    skipped = (np.arange(N) >= 60) & (np.arange(N) < 72)
    assert clue("precision-overflow", run(skipped=skipped, loss_scale=0.5), "non-finite", 60) is not None
    assert clue("precision-overflow", run(skipped=skipped & (np.arange(N) < 64)), "non-finite", 60) is None


@pytest.mark.parametrize(
    ("dtype", "lost", "strength"),
    [("bfloat16", 0.95, EXACT), ("bfloat16", 0.6, STRONG), ("bfloat16", 0.1, None), ("float32", 0.95, None),
     ("bfloat16", np.nan, None)],
)  # fmt: skip
def test_updates_that_round_away(dtype, lost, strength):
    found = clue("updates-lost-in-rounding", run(tensors=weights(lost_updates=lost), info=shapes(dtype=dtype)))
    assert (found.strength if found else None) == strength
    if found is not None:
        assert f"{lost:.0%}" in found.why


def validated(value: float) -> dict[str, Any]:
    return {"metrics": {"val_loss": ([1.0, 1.9], [2.0, value])}}


def test_a_model_that_learns_its_rows_by_heart():
    loss = np.geomspace(2.3, 1e-3, N)
    found = clue("over-capacity", run(loss, info=shapes(), **validated(3.0)), "overfitting")
    assert found is not None
    assert found.strength == STRONG
    assert "12,288 parameters" in found.why
    assert clue("over-capacity", run(trained(), info=shapes(), **validated(0.12)), "overfitting") is None
    assert clue("over-capacity", run(loss, info=shapes()), "overfitting") is None


@pytest.mark.parametrize(
    ("shares", "validation", "strength"),
    [([0.9], 2.3, STRONG), ([0.6], 2.3, WEAK), ([0.5], 0.7, STRONG), ([0.5], 2.3, None), ([0.1], 0.7, None),
     ([], 0.7, None), (None, 0.7, None)],
)  # fmt: skip
def test_dropout(shares, validation, strength):
    found = clue("too-much-dropout", run(flat(N), info={"dropout": shares}, **validated(validation)), "slow-loss")
    assert (found.strength if found else None) == strength


def test_memory_that_ran_out():
    planted = run(**exception("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB"))
    assert clue("out-of-memory", planted, "crash") is not None
    killed = run(meta={"status": -9, "max_rss_bytes": 15e9, "memory_bytes": 16e9})
    found = clue("out-of-memory", killed, "crash")
    assert found is not None
    assert "94% of the machine's memory" in found.why
    assert clue("out-of-memory", run(meta={"status": -9, "max_rss_bytes": 1e9, "memory_bytes": 16e9}), "crash") is None
    assert clue("out-of-memory", run(**exception("ValueError", "no")), "crash") is None


def test_a_package_that_is_missing():
    found = clue("missing-package", run(**exception("ModuleNotFoundError", "No module named 'cv2'")), "crash")
    assert found is not None
    assert found.remedies == ("pip install opencv-python",)
    assert clue("missing-package", run(**exception("ValueError", "No module named 'cv2'")), "crash") is None


def test_a_script_that_refused_a_nan():
    refused = run(**exception("ValueError", "Input contains NaN"))
    assert clue("invalid-operation", refused, "crash") is not None
    assert clue("invalid-operation", run(**exception("ValueError", "no")), "crash") is None
