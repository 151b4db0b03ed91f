"""run.json: what it says of command, place and commit, and what claiming a directory does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trimtab import TrimtabError, __version__
from trimtab.runs import RunWriter, claim_directory, describe_run
from trimtab.runs._git import head_of, is_dirty
from trimtab.runs._metadata import is_alive, recorder_identity

from ._feed import steps


def git(directory: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", *identity, "-C", str(directory), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q")
    (root / "train.py").write_text("print(1)\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    return root


def test_the_commit_is_what_git_says_it_is(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "sub").mkdir()
    expected = {"commit": commit, "branch": "main", "root": str(repository)}
    assert head_of(repository / "sub") == expected
    git(repository, "pack-refs", "--all")
    assert head_of(repository) == expected
    git(repository, "worktree", "add", "-q", "-b", "feature/x", str(repository.parent / "linked"))
    assert head_of(repository.parent / "linked") == {
        "commit": commit, "branch": "feature/x", "root": str(repository.parent / "linked")
    }  # fmt: skip
    git(repository, "checkout", "-q", "--detach")
    assert head_of(repository) == {**expected, "branch": None}


def test_dirty_is_a_change_of_a_tracked_file(repository: Path) -> None:
    (repository / "new").write_text("")
    assert is_dirty(repository) is False
    (repository / "train.py").write_text("print(2)\n")
    assert is_dirty(repository) is True
    assert is_dirty(repository / "nowhere") is None


def test_outside_of_git_and_in_a_broken_repository_there_is_no_commit(tmp_path: Path) -> None:
    assert head_of(tmp_path) is None
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    assert head_of(tmp_path) is None
    (tmp_path / ".git").unlink()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert head_of(tmp_path) is None


def test_run_json_tells_command_script_place_and_process(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    environment = {"OMP_NUM_THREADS": "2", "HOME": "/home/ada", "PYTHONPATH": "src", "RANK": "0"}
    meta = describe_run([sys.executable, "-u", "train.py", "--lr", "1"], program="train", environment=environment)
    writer = RunWriter(repository / "run", meta, on_trouble=pytest.fail)
    started = json.loads((repository / "run" / "run.json").read_text())
    assert started["ended"] is None
    writer.process({"type": "hello", "pid": 5, "rank": 2, "argv": ["train.py"], "world_size": None})
    writer.process({"pid": 6})
    writer.describe(2, {"optimizers": {"0": {"class": "SGD"}}})
    writer.describe(2, {"optimizers": {"1": {"class": "Adam"}}, "seed": 3})
    writer.describe(7, {"nobody": 1})
    writer.rows(2, *steps(0, 3))
    writer.close(status=3, cpu_seconds=1.5)
    data = json.loads((repository / "run" / "run.json").read_text())
    assert data["schema"] == 1
    assert data["trimtab"] == __version__
    assert data["command"] == [sys.executable, "-u", "train.py", "--lr", "1"]
    assert data["script"] == str(repository / "train.py")
    assert data["script_sha256"] == hashlib.sha256(b"print(1)\n").hexdigest()
    assert data["environment"] == {"OMP_NUM_THREADS": "2", "PYTHONPATH": "src", "RANK": "0"}
    assert data["git"]["commit"] == git(repository, "rev-parse", "HEAD")
    assert data["git"]["dirty"] is False
    assert data["packages"]["numpy"]
    assert data["processes"][0]["pid"] == 6
    assert data["processes"][1] == {}
    assert data["processes"][2] == {
        "index": 2, "pid": 5, "rank": 2, "argv": ["train.py"], "seed": 3,
        "optimizers": {"0": {"class": "SGD"}, "1": {"class": "Adam"}},
    }  # fmt: skip
    assert (data["status"], data["cpu_seconds"]) == (3, 1.5)
    assert data["ended"] >= data["started"]


def test_a_rank_is_the_index_and_others_take_what_is_free() -> None:
    writer = RunWriter(None, {}, on_trouble=pytest.fail)
    ranks = [None, 1, 0, 1, 5, None, -1, 10**9]
    assert [writer.process({"rank": rank}) for rank in ranks] == [0, 1, 2, 3, 5, 4, 6, 7]


def test_directories_are_unique_under_concurrency_and_kept_out_of_git(tmp_path: Path) -> None:
    def claim(_: int) -> Path | None:
        return claim_directory("my train/..", pytest.fail, parent=tmp_path / ".trimtab")

    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(claim, range(40)))
    assert len(set(claimed)) == 40
    assert all(path is not None and path.parent == tmp_path / ".trimtab" for path in claimed)
    assert all("my-train" in path.name for path in claimed if path)
    assert (tmp_path / ".trimtab" / ".gitignore").read_text() == "*\n"


def test_a_named_directory_may_exist_if_it_is_empty(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    assert claim_directory("x", pytest.fail, out=out) == out
    assert (out / ".gitignore").read_text() == "*\n"
    for taken in (out, out / ".gitignore"):
        with pytest.raises(TrimtabError, match="name a new directory"):
            claim_directory("x", pytest.fail, out=taken)


def test_a_run_without_rows_loads_the_standard_library_only(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from trimtab.runs import RunWriter, claim_directory, describe_run
run = claim_directory("x", print, parent=Path(sys.argv[1]))
writer = RunWriter(run, describe_run(["train.py"]), on_trouble=print)
writer.describe(writer.process({"pid": 1}), {"seed": 1})
writer.flush(); writer.close(status=0)
assert not writer.has_rows
print(*{name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"trimtab", "__main__"})
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if not name.startswith(("_", "sitecustomize"))} == set()


def test_the_recorder_is_known_to_live_or_not() -> None:
    own = recorder_identity()
    assert is_alive(own)
    assert not is_alive({**own, "born": "1"})
    assert not is_alive({**own, "host": "elsewhere"})
    for nonsense in (None, {}, {"pid": "x"}, {**own, "pid": 2**40}, {**own, "pid": -1}):
        assert not is_alive(nonsense)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_alive({**own, "pid": ended.pid})
    assert os.getpid() == own["pid"]
