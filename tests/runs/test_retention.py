"""A size limit costs the oldest detail first; step 0, the telling steps and the black box stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trimtab.runs import Record, RunWriter

from ._feed import message

WIDTH = 50


def write(directory: Path, max_bytes: int, flushes: int, *, detail: bool = True) -> int:
    """A run whose numbers do not compress; returns the largest size that it ever had."""
    random = np.random.default_rng(0)
    writer = RunWriter(directory, {}, max_bytes=max_bytes, on_trouble=pytest.fail)
    writer.names(0, "tensor", 0, [f"w{i}" for i in range(WIDTH)])
    largest = 0
    for flush in range(flushes):
        step = np.arange(flush * 64, flush * 64 + 64)
        columns = {
            "optimizer": np.zeros(64, "<i2"), "step": step, "loss": random.random(64), "grad_norm": random.random(64),
            "sampled": step % 640 == 0, "nonfinite": (step == 777).astype("<i4"), "time": random.random(64),
        }  # fmt: skip
        writer.rows(0, *message("steps", columns))
        if detail:
            columns = {
                "optimizer": np.zeros(64 * WIDTH, "<i2"), "step": np.repeat(step, WIDTH),
                "tensor": np.tile(np.arange(WIDTH, dtype="<i4"), 64), "grad_norm": random.random(64 * WIDTH, "<f4"),
            }  # fmt: skip
            writer.rows(0, *message("tensors", columns))
        if flush == 3:
            writer.rows(0, *message("events", {}, optimizer=[0], step=[200], kind=["nonfinite"], data=["{}"]))
        writer.flush()
        largest = max(largest, size_of(directory))
    writer.close()
    return largest


def size_of(run: Path) -> int:
    return sum(f.stat().st_size for name in ("steps", "tensors", "events") for f in (run / name).glob("*.parquet"))


def test_old_detail_goes_and_the_course_of_the_run_stays(tmp_path: Path) -> None:
    limit = 1_000_000
    largest = write(tmp_path / "run", limit, 200)
    assert largest < 1.2 * limit
    assert size_of(tmp_path / "run") <= limit
    record = Record.open(tmp_path / "run")
    assert record.damage == []
    series = record.series()[0]
    assert len(series.steps["step"]) == 200 * 64, "no step is lost while there is detail to give up"
    assert len(series.tensors(0)["step"]) == WIDTH
    assert len(series.tensors(1)["step"]) == 0
    assert len(series.tensors(200 * 64 - 1)["step"]) == WIDTH
    dropped = record.meta["dropped"]["tensors"]
    kept = sum(len(series.tensors(step)["step"]) for step in range(0, 12_800, 64))
    assert dropped["rows"] > 0
    assert kept > 0
    assert (tmp_path / "run" / "blackbox" / "tensors.parquet").exists()


def test_where_there_is_no_detail_left_steps_are_thinned(tmp_path: Path) -> None:
    write(tmp_path / "run", 100_000, 150, detail=False)
    record = Record.open(tmp_path / "run")
    step = record.series()[0].steps["step"]
    assert size_of(tmp_path / "run") < 120_000
    assert 500 < len(step) < 9_600
    assert np.all(np.diff(step) > 0)
    assert {0, 777, *range(0, 9_600, 640)} <= set(step.tolist())
    assert record.meta["dropped"]["steps"]["rows"] == 9_600 - len(step)


def test_under_the_limit_nothing_is_dropped(tmp_path: Path) -> None:
    write(tmp_path / "run", 1 << 30, 20)
    assert Record.open(tmp_path / "run").meta["dropped"] == {}
