"""The recorder may be killed at any moment: what it had flushed is there, once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from trimtab.runs import Record, RunWriter, _store
from trimtab.runs._parts import all_parts, superseded

from ._feed import steps
from ._killed import STEPS_PER_FLUSH, WIDTH

REPOSITORY = Path(__file__).parents[2]


def test_fifty_kills_lose_no_acknowledged_row_and_double_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.runs._killed", str(tmp_path), "50", "7"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=240)
    acknowledged = json.loads(done.stdout)
    cut_short = 0
    for i, flushes in enumerate(acknowledged):
        run = tmp_path / f"run{i}"
        cut_short += any(superseded(all_parts(run / name)) for name in ("steps", "tensors"))
        cut_short += any(run.glob(".*.merge"))
        for part in run.glob("*/*.parquet"):
            pq.read_table(part)
        record = Record.open(run)
        assert record.damage == []
        assert not record.ended
        series = record.series()[0]
        step = series.steps["step"]
        np.testing.assert_array_equal(step, np.arange(len(step)))
        assert flushes * STEPS_PER_FLUSH <= len(step) <= (flushes + 1) * STEPS_PER_FLUSH
        for asked in (0, flushes * STEPS_PER_FLUSH - 1):
            assert list(series.tensors(asked)["tensor"]) == [f"w{i}" for i in range(WIDTH)]
        assert not any(superseded(all_parts(run / name)) for name in ("steps", "tensors")), "opening tidies up"
    assert cut_short > 5, "the kills were meant to fall into merges"


def test_a_merge_cut_short_before_its_pieces_are_deleted_counts_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "FAN_IN", 4)
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        for flush in range(40):
            writer.rows(0, *steps(flush * 8, 8))
            writer.flush()
        writer.close()
        parts = all_parts(tmp_path / "run" / "steps")
        assert len(superseded(parts)) >= 40
        assert len(Record.open(tmp_path / "run").series()[0].steps["step"]) == 320
    assert len(Record.open(tmp_path / "run").series()[0].steps["step"]) == 320
    assert len(all_parts(tmp_path / "run" / "steps")) == 1


def test_pieces_are_used_where_the_merged_part_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        for flush in range(4):
            writer.rows(0, *steps(flush * 8, 8))
            writer.flush()
        writer.close()
    (merged,) = (tmp_path / "run" / "steps").glob("part-00000000-00000003.parquet")
    merged.write_bytes(merged.read_bytes()[:-50])
    record = Record.open(tmp_path / "run")
    assert len(record.series()[0].steps["step"]) == 32
    assert len(record.damage) == 1
    assert len(list((tmp_path / "run" / "steps").iterdir())) == 5, "nothing was deleted"
