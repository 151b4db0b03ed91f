"""Opening a run: by path or name, whole or damaged, ours or a stranger's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trimtab import TrimtabError
from trimtab._errors import NoSuchRunError
from trimtab.runs import Record, RunWriter, list_runs
from trimtab.vitals import TABLES

from ._feed import message, steps, tensors


def write_run(directory: Path, *, flushes: int = 3, close: bool = True, width: int = 4) -> RunWriter:
    writer = RunWriter(directory, {"command": ["train.py"]}, on_trouble=pytest.fail)
    process = writer.process({"pid": 1})
    writer.describe(process, {"optimizers": [{"class": "torch.optim.sgd.SGD"}]})
    writer.names(process, "tensor", 0, [f"w{i}" for i in range(width)])
    for flush in range(flushes):
        writer.rows(process, *steps(flush * 64, 64))
        writer.rows(process, *tensors(flush * 64, 64, width))
        writer.flush()
    if close:
        writer.close(status=0)
    return writer


def test_series_are_found_in_order(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    pairs = [(process, optimizer) for process in (0, 3, 4095) for optimizer in (0, 7, 32_767)]
    for process, optimizer in reversed(pairs):
        writer.rows(process, *steps(0, 12_000, optimizer=optimizer))
    record = writer.record()
    assert [(series.process, series.optimizer) for series in record.series()] == pairs


def test_a_record_has_one_series_per_process_and_optimizer(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    for process in (1, 0):
        for optimizer in (1, 0):
            writer.rows(process, *steps(5, 5, optimizer=optimizer))
            writer.rows(process, *steps(0, 5, optimizer=optimizer))
    writer.rows(0, *message("events", {}, optimizer=[0], step=[3], kind=["unseen"], data=["{}"]))
    live = writer.record()
    writer.close()
    for record in (live, Record.open(tmp_path / "run")):
        assert [(s.process, s.optimizer) for s in record.series()] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        for series in record.series():
            np.testing.assert_array_equal(series.steps["step"], np.arange(10))
            np.testing.assert_array_equal(series.sampled_steps, [0])
            assert set(series.steps) == {q.name for q in TABLES["steps"].quantities}
        assert list(record.events()["kind"]) == ["unseen"]
        assert len(record.metrics()["step"]) == 0


def test_a_run_without_steps_has_no_series(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", {}, on_trouble=pytest.fail)
    assert writer.record().series() == []
    writer.close()
    assert Record.open(tmp_path / "run").series() == []
    assert len(Record.open(tmp_path / "run").events()["kind"]) == 0


def test_what_is_known_of_an_optimizer_comes_from_its_process(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    record = Record.open(tmp_path / "run")
    assert record.series()[0].info == {"class": "torch.optim.sgd.SGD"}
    assert record.ended
    record.meta["processes"] = "nonsense"
    assert record.series()[0].info == {}


def test_a_step_is_found_in_a_long_run_without_reading_it_all(tmp_path: Path) -> None:
    write_run(tmp_path / "run", flushes=40, width=100)
    series = Record.open(tmp_path / "run").series()[0]
    for step in (0, 1, 1279, 2559):
        rows = series.tensors(step)
        np.testing.assert_array_equal(rows["step"], np.full(100, step))
        assert list(rows["tensor"]) == [f"w{i}" for i in range(100)]
        assert rows["grad_norm"].dtype == np.float32
        assert np.isnan(rows["weight_norm"]).all()
        assert set(rows["grad_zeros"]) == {-1}
    assert len(series.tensors(2560)["step"]) == 0
    assert len(series.modules(0)["step"]) == 0


def test_names_paths_and_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("2026-11-24-153012-train", "2026-11-24-153013-train", "2026-11-25-100000-other"):
        write_run(tmp_path / ".trimtab" / name, flushes=1)
    assert Record.open("2026-11-24-153012-train").name == "2026-11-24-153012-train"
    assert Record.open(".trimtab/2026-11-24-153013-train").name == "2026-11-24-153013-train"
    assert Record.open("latest").name == "2026-11-25-100000-other"
    with pytest.raises(NoSuchRunError, match="did you mean 2026-11-24-153012-train"):
        Record.open("2026-11-24-153012-trian")
    with pytest.raises(NoSuchRunError, match="2026-11-25-100000-other"):
        Record.open("other")
    with pytest.raises(NoSuchRunError, match="trimtab show"):
        Record.open("zzz")
    with pytest.raises(NoSuchRunError, match="is a directory, but no run"):
        Record.open(tmp_path)


def test_where_there_are_no_runs_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("latest", "run", "", "\0", "a" * 5000):
        with pytest.raises(NoSuchRunError, match=r"trimtab run train\.py"):
            Record.open(name)


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "flipped", "other table"])
def test_a_damaged_part_is_passed_over_and_named(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path / "run", close=False)
    part = tmp_path / "run" / "steps" / "part-00000001-00000001.parquet"
    whole = part.read_bytes()
    if damage == "other table":
        pq.write_table(pa.table({"x": [1]}), part)
    else:
        damaged = {
            "cut": whole[: len(whole) // 2],
            "empty": b"",
            "noise": os.urandom(5000),
            "flipped": b"PAR1" + b"\xff" * 400 + whole[404:],
        }
        part.write_bytes(damaged[damage])
    record = Record.open(tmp_path / "run")
    assert sorted({s // 64 for s in record.series()[0].steps["step"].tolist()}) == [0, 2]
    (line,) = record.damage
    assert line.startswith("steps/part-00000001-00000001.parquet: ")


def test_without_run_json_the_tables_are_still_read(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    for text in (None, "{", "[]", "[" * 100_000):
        (tmp_path / "run" / "run.json").unlink(missing_ok=True)
        if text is not None:
            (tmp_path / "run" / "run.json").write_text(text)
        record = Record.open(tmp_path / "run")
        assert record.damage == ["run.json: missing or unreadable"]
        assert len(record.series()[0].steps["step"]) == 192
        assert record.series()[0].info == {}


def test_a_later_schema_is_refused_and_a_field_more_is_not(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    meta = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**meta, "new": {"field": 1}}))
    assert Record.open(tmp_path / "run").meta["new"] == {"field": 1}
    for schema in (2, "x", None):
        (tmp_path / "run" / "run.json").write_text(json.dumps({**meta, "schema": schema, "trimtab": "9.0"}))
        with pytest.raises(TrimtabError, match="upgrade trimtab"):
            Record.open(tmp_path / "run")


def test_a_table_of_another_version_lacks_columns_and_has_others(tmp_path: Path) -> None:
    write_run(tmp_path / "run", flushes=1)
    (part,) = (tmp_path / "run" / "steps").iterdir()
    table = pq.read_table(part).drop_columns(["loss", "sampled", "nonfinite"])
    pq.write_table(table.append_column("new", pa.array(["x"] * 64)), part)
    steps_read = Record.open(tmp_path / "run").series()[0].steps
    assert np.isnan(steps_read["loss"]).all()
    assert not steps_read["sampled"].any()
    assert set(steps_read["nonfinite"]) == {-1}
    assert "new" not in steps_read


def test_a_stranger_cannot_make_us_read_outside_of_the_run_or_fill_the_memory(tmp_path: Path) -> None:
    write_run(tmp_path / "run", flushes=1)
    (part,) = (tmp_path / "run" / "steps").iterdir()
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(part.read_bytes())
    (part.parent / "part-00000007-00000007.parquet").symlink_to(outside)
    (part.parent / "part-00000008-00000008.parquet").mkdir()
    os.mkfifo(part.parent / "part-00000009-00000009.parquet")
    zeros = pa.array(np.zeros(60_000_000, dtype="i2"))
    bomb = pa.table({"process": zeros, "optimizer": zeros, "step": zeros})
    pq.write_table(bomb, part.parent / "part-00000010-00000010.parquet", compression="zstd")
    assert (part.parent / "part-00000010-00000010.parquet").stat().st_size < 1_000_000
    record = Record.open(tmp_path / "run")
    assert len(record.series()[0].steps["step"]) == 64
    assert len(record.damage) == 1
    assert "not read" in record.damage[0]


def test_a_run_under_way_can_be_opened_beside_its_writer(tmp_path: Path) -> None:
    writer = write_run(tmp_path / "run", close=False)
    assert not Record.open(tmp_path / "run").ended
    (summary,) = list_runs(tmp_path)
    assert summary.running
    assert summary.outcome == "running"
    writer.close(status=1)
    (summary,) = list_runs(tmp_path)
    assert not summary.running
    assert summary.outcome == "unjudged"
    assert summary.command == "train.py"
    assert summary.meta["status"] == 1


MERGING_WRITER = """
import sys, time
from pathlib import Path
from trimtab.runs import RunWriter, _store
from tests.runs._feed import steps
_store.FAN_IN = 4
writer = RunWriter(Path(sys.argv[1]), {}, on_trouble=print)
for flush in range(50):
    writer.rows(0, *steps(flush * 8, 8))
    writer.flush()
    print(flush + 1, flush=True)
    time.sleep(0.01)
"""


def test_a_reader_beside_a_merging_writer_misses_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MERGING_WRITER, str(tmp_path / "run")]
    reads = 0
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            record = Record.open(tmp_path / "run")
            step = record.table("steps")["step"]
            assert record.damage == []
            np.testing.assert_array_equal(step, np.arange(len(step)))
            assert int(line) * 8 <= len(step)
            reads += 1
    assert writer.returncode == 0
    assert reads == 50


def test_hundreds_of_runs_are_listed_from_their_small_files(tmp_path: Path) -> None:
    for i in range(300):
        RunWriter(tmp_path / f"run{i:03}", {"started": f"2026-11-24T00:{i % 60:02}"}, on_trouble=pytest.fail).close()
    (tmp_path / "no-run").mkdir()
    (tmp_path / "run000" / "verdict.json").write_text('{"outcome": "trained"}')
    runs = list_runs(tmp_path)
    assert len(runs) == 300
    assert runs[0].outcome == "trained"
    assert [run.started for run in runs] == sorted(run.started for run in runs)
    assert list_runs(tmp_path / "nowhere") == []
