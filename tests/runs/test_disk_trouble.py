"""A disk that refuses costs the record, never more: one sentence, no exception, what was written stays."""

from __future__ import annotations

import builtins
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trimtab.runs import Record, RunWriter, _parts, _store, claim_directory

from ._feed import message, steps, tensors

REPOSITORY = Path(__file__).parents[2]


class Disk:
    """Stands between the writer and the disk; refuses from the `left`-th write on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        self.number, self.left = number, 10**9
        real = builtins.open

        def refusing(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if "w" in mode:
                self.left -= 1
                if self.left < 0:
                    file = real(path, mode, *rest, **options)
                    file.write(b"half")
                    file.close()
                    raise OSError(self.number, os.strerror(self.number))
            return real(path, mode, *rest, **options)

        monkeypatch.setattr(_parts, "open", refusing, raising=False)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("good_writes", [0, 3, 8])
def test_what_was_written_before_the_disk_refused_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, good_writes: int
) -> None:
    disk = Disk(monkeypatch, number)
    disk.left = good_writes
    troubles: list[str] = []
    run = tmp_path / "run"
    writer = RunWriter(run, {}, on_trouble=troubles.append)
    for flush in range(50):
        writer.rows(0, *steps(flush * 8, 8))
        writer.flush()
    writer.close()
    assert len(troubles) == 1
    assert os.strerror(number) in troubles[0]
    assert [path.name for path in run.rglob(".*")] == [], "half-written files are removed"
    assert len(writer.record().series()[0].steps["step"]) == 400, "memory has them all"
    if good_writes:
        record = Record.open(run)
        assert record.damage == []
        assert len(record.table("steps")["step"]) == (good_writes - 1) * 8


def test_writing_goes_on_once_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "RETRY_SECONDS", 0.0)
    disk = Disk(monkeypatch, errno.ENOSPC)
    troubles: list[str] = []
    writer = RunWriter(tmp_path / "run", {}, on_trouble=troubles.append)
    for flush in range(30):
        disk.left = 0 if 10 <= flush < 20 else 100
        writer.rows(0, *steps(flush * 8, 8))
        writer.flush()
    writer.close()
    record = Record.open(tmp_path / "run")
    assert len(record.series()[0].steps["step"]) == 240
    assert len(troubles) == 1
    assert record.meta["trouble"] == troubles[0]


def test_memory_stays_bounded_while_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_store, "MAX_WAITING_BYTES", 100_000)
    disk = Disk(monkeypatch, errno.ENOSPC)
    writer = RunWriter(tmp_path / "run", {}, on_trouble=lambda _: None)
    disk.left = 0
    writer.names(0, "tensor", 0, [f"w{i}" for i in range(100)])
    for flush in range(40):
        writer.rows(0, *tensors(flush * 8, 8, 100))
        writer.rows(0, *steps(flush * 8, 8))
        writer.flush()
    disk.left = 10**9
    writer.close()
    record = Record.open(tmp_path / "run")
    dropped = record.meta["dropped"]["tensors"]
    assert dropped["rows"] > 20_000
    assert len(record.series()[0].steps["step"]) == 320, "detail goes first"


def test_a_directory_deleted_under_way_is_not_made_anew(tmp_path: Path) -> None:
    troubles: list[str] = []
    run = tmp_path / "run"
    writer = RunWriter(run, {}, on_trouble=troubles.append)
    for flush in range(10):
        writer.rows(0, *steps(flush * 8, 8))
        writer.flush()
        if flush == 5:
            shutil.rmtree(run)
    writer.close()
    assert not run.exists()
    assert len(troubles) == 1
    assert "deleted" in troubles[0]
    assert len(writer.record().series()[0].steps["step"]) == 80


def test_a_table_directory_deleted_under_way_costs_only_what_was_in_it(tmp_path: Path) -> None:
    troubles: list[str] = []
    run = tmp_path / "run"
    writer = RunWriter(run, {}, on_trouble=troubles.append)
    for flush in range(40):
        writer.rows(0, *steps(flush * 8, 8))
        writer.flush()
        if flush == 5:
            shutil.rmtree(run / "steps")
    writer.close()
    assert len(Record.open(run).table("steps")["step"]) >= 8
    assert len(troubles) <= 1


def test_without_a_directory_the_run_is_kept_in_memory(tmp_path: Path) -> None:
    writer = RunWriter(None, {}, on_trouble=pytest.fail)
    writer.rows(0, *steps(0, 100))
    writer.flush()
    writer.close()
    record = writer.record()
    assert record.path is None
    assert len(record.series()[0].steps["step"]) == 100


def test_a_place_where_no_directory_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    troubles: list[str] = []
    assert claim_directory("train", troubles.append, parent=tmp_path / "file" / ".trimtab") is None
    writer = RunWriter(tmp_path / "file" / "run", {}, on_trouble=troubles.append)
    writer.rows(0, *steps(0, 1))
    writer.close()
    assert len(troubles) == 2
    assert all("memory only" in trouble for trouble in troubles)


ON_TMPFS = """
import errno, sys
from pathlib import Path
from trimtab.runs import RunWriter, Record, claim_directory
from tests.runs._feed import steps, tensors
troubles = []
run = claim_directory("train", troubles.append, parent=Path(sys.argv[1]))
writer = RunWriter(run, {}, on_trouble=troubles.append)
writer.names(0, "tensor", 0, [f"w{i}" for i in range(50)])
for flush in range(150):
    writer.rows(0, *steps(flush * 64, 64)); writer.rows(0, *tensors(flush * 64, 64, 50)); writer.flush()
writer.close()
assert len(writer.record().series()[0].steps["step"]) == 9600
print(*troubles, sep="\\n")
if run is not None:
    record = Record.open(run)
    step = record.series()[0].steps["step"]
    assert record.damage == [] and list(step) == list(range(len(step))) and len(step) > 64, (record.damage, len(step))
    assert not list(run.glob(".*.part")) + list(run.glob(".*.merge"))
"""


@pytest.mark.parametrize(("options", "expected"), [("size=400k", "No space left"), ("ro", "Read-only file system")])
def test_on_a_file_system_that_is_full_or_read_only(tmp_path: Path, options: str, expected: str) -> None:
    inside = f'mount -t tmpfs -o {options} none "$1" || exit 77; exec "$2" -c "$3" "$1"'
    command = ["unshare", "-rm", "sh", "-c", inside, "sh", str(tmp_path), sys.executable, ON_TMPFS]
    if shutil.which("unshare") is None:
        pytest.skip("no `unshare`, with which a small file system of its own could be mounted")
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert expected in line


def test_an_event_is_not_lost_with_a_block_that_cannot_be_kept(tmp_path: Path) -> None:
    troubles: list[str] = []
    writer = RunWriter(tmp_path / "run", {}, on_trouble=troubles.append)
    writer.rows(99_999, *steps(0, 1))
    writer.rows(0, *message("events", {}, optimizer=[-1], step=[-1], kind=["unseen"], data=["{}"]))
    writer.close()
    assert list(Record.open(tmp_path / "run").events()["kind"]) == ["unseen"]
    assert len(troubles) == 1
