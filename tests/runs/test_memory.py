"""What the recorder keeps for judging a run under way: enough, and no more than its bounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from trimtab.runs import RunWriter, _memory
from trimtab.runs._blocks import BlockReader
from trimtab.vitals import TABLES

from ._feed import message, steps, tensors


def feed(writer: RunWriter, first: int, count: int, width: int = 3) -> None:
    writer.names(0, "tensor", 0, ["a", "b", "c"])
    writer.rows(0, *steps(first, count))
    writer.rows(0, *tensors(first, count, width))
    sampled = [s for s in range(first, first + count) if s % 16 == 0]
    for step in sampled:
        columns = {"optimizer": np.zeros(2, "<i2"), "step": np.full(2, step), "call": np.arange(2, dtype="<i4")}
        writer.rows(0, *message("modules", columns, module=["a", "b"]))


@pytest.mark.parametrize("block", [1, 7, 64, 200])
def test_first_recent_and_notable_steps_are_at_hand_without_a_disk(block: int) -> None:
    writer = RunWriter(None, {}, on_trouble=pytest.fail)
    for first in range(0, 1400, block):
        feed(writer, first, block)
        if first <= 700 < first + block:
            writer.rows(0, *message("events", {}, optimizer=[0], step=[700], kind=["nonfinite"], data=["{}"]))
    latest = first + block - 1
    series = writer.record().series()[0]
    for step in (0, 700, *range(latest - 63, latest + 1)):
        assert list(series.tensors(step)["tensor"]) == ["a", "b", "c"], step
        assert set(series.tensors(step)["step"]) == {step}
    assert len(series.tensors(350)["step"]) == 0
    sampled = series.sampled_steps
    assert list(series.modules(0)["module"]) == ["a", "b"]
    assert list(series.modules(int(sampled[-1]))["module"]) == ["a", "b"]


@pytest.mark.parametrize("ahead", [1, 4])
def test_modules_of_the_last_samples_are_at_hand_however_far_apart(ahead: int) -> None:
    """They come when they are measured, `ahead` samples before their rows of `steps`."""
    writer = RunWriter(None, {}, on_trouble=pytest.fail)
    for first in range(0, 16 * 40, 16 * ahead):
        for step in range(first, first + 16 * ahead, 16):
            columns = {"optimizer": np.zeros(1, "<i2"), "step": np.array([step]), "call": np.zeros(1, "<i4")}
            writer.rows(0, *message("modules", columns, module=["a"]))
        series = writer.record().series()
        sampled = series[0].sampled_steps.tolist() if series else []
        assert [series[0].modules(step)["step"].tolist() for step in sampled[-3:]] == [[step] for step in sampled[-3:]]
        writer.rows(0, *steps(first, 16 * ahead))
    series = writer.record().series()
    assert series[0].modules(0)["step"].tolist() == [0]
    assert len(series[0].modules(16 * 20)["step"]) == 0


def test_what_left_memory_is_read_from_the_disk(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    for first in range(0, 1400, 64):
        feed(writer, first, 64)
        writer.flush()
    series = writer.record().series()[0]
    assert list(series.tensors(350)["tensor"]) == ["a", "b", "c"]
    assert list(series.modules(352)["module"]) == ["a", "b"]


def test_a_record_does_not_change_when_more_comes() -> None:
    writer = RunWriter(None, {}, on_trouble=pytest.fail)
    feed(writer, 0, 64)
    record = writer.record()
    before = {name: values.copy() for name, values in record.series()[0].steps.items()}
    for first in range(64, 640, 64):  # there is room for some of it where the earlier rows lie
        feed(writer, first, 64)
        assert len(writer.record().series()[0].steps["step"]) == first + 64
    for name, values in before.items():
        np.testing.assert_array_equal(record.series()[0].steps[name], values)
    assert writer.record().series()[0].steps["step"].tolist() == list(range(640))


def test_many_steps_are_thinned_and_the_telling_ones_kept() -> None:
    reader = BlockReader()
    kept = _memory.Kept(TABLES["steps"], reader, max_rows=1000)
    for first in range(0, 10_000, 50):
        header, payload = steps(first, 50)
        block = reader.block(TABLES["steps"], 0, header, payload)
        block.values["nonfinite"] = (block.values["step"] == 1233).astype("<i4")
        kept.add(block)
    step = kept.columns()["step"]
    assert len(step) <= 1500
    assert step[0] == 0
    assert 1233 in step
    assert list(step[-500:]) == list(range(9500, 10_000))
    assert np.all(np.diff(step) > 0)


@pytest.mark.parametrize("kind", ["nonfinite", "exception"])
def test_a_failure_leaves_the_last_steps_in_the_black_box(tmp_path: Path, kind: str) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    (tmp_path / "run" / "blackbox").mkdir()
    (tmp_path / "run" / "blackbox" / "event.json").write_text("{}")
    for first in range(0, 320, 64):
        feed(writer, first, 64)
    writer.rows(0, *message("events", {}, optimizer=[0], step=[319], kind=[kind], data=["{}"]))
    writer.flush()
    box = tmp_path / "run" / "blackbox"
    assert sorted(path.name for path in box.iterdir()) == ["event.json", "steps.parquet", "tensors.parquet"]
    assert pq.read_table(box / "steps.parquet")["step"].to_pylist() == list(range(256, 320))
    rows = pq.read_table(box / "tensors.parquet")
    assert rows.num_rows == 64 * 3
    assert set(rows["tensor"].to_pylist()) == {"a", "b", "c"}


def test_the_black_box_waits_for_the_rows_of_the_step_that_failed(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    feed(writer, 0, 64)
    writer.rows(0, *message("events", {}, optimizer=[0], step=[70], kind=["nonfinite"], data=["{}"]))
    writer.flush()
    feed(writer, 64, 7)
    writer.flush()
    box = tmp_path / "run" / "blackbox" / "steps.parquet"
    assert pq.read_table(box)["step"].to_pylist() == list(range(7, 71))
    feed(writer, 71, 64)
    writer.close()
    assert pq.read_table(box)["step"].to_pylist() == list(range(7, 71)), "what came after the failure is not in it"


def test_other_events_leave_no_black_box(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    feed(writer, 0, 64)
    writer.rows(0, *message("events", {}, optimizer=[0], step=[3], kind=["unseen"], data=["{}"]))
    writer.close()
    assert not (tmp_path / "run" / "blackbox").exists()
