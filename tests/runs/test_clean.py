"""`trimtab clean` deletes runs, all that it is told to and nothing else."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from trimtab import TrimtabError
from trimtab.cli import _clean as cli
from trimtab.runs import RunWriter
from trimtab.verbs._clean import seconds_of


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five ended runs, begun 0 to 4 days ago, in `.trimtab` under the working directory."""
    monkeypatch.chdir(tmp_path)
    for days in range(5):
        make(tmp_path / ".trimtab" / f"run{days}", days)
    return tmp_path / ".trimtab"


def make(path: Path, days: float = 0) -> Path:
    started = datetime.now(timezone.utc) - timedelta(days=days)
    RunWriter(path, {"started": started.isoformat()}, on_trouble=pytest.fail).close()
    return path


def clean(*words: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--keep", "2"], ["run0", "run1"]),
        (["--keep", "0"], []),
        (["--keep", "9"], ["run0", "run1", "run2", "run3", "run4"]),
        (["--older-than", "60h"], ["run0", "run1", "run2"]),
        (["--older-than", "1d", "--keep", "3"], ["run0", "run1", "run2"]),
        (["run1", ".trimtab/run3"], ["run0", "run2", "run4"]),
        (["--keep", "0", "--dry-run"], ["run0", "run1", "run2", "run3", "run4"]),
    ],
)
def test_what_goes_and_what_stays(root: Path, words: list[str], left: list[str]) -> None:
    assert clean(*words) == 0
    assert names(root) == left


def test_it_shows_what_it_deletes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean("--keep", "3")
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.endswith("B  run4")
    assert second.endswith("B  run3")
    assert last.startswith("2 runs, ")
    clean("--keep", "3")
    assert capsys.readouterr().out == "nothing to delete\n"


def test_json_lists_names_and_sizes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "run4" / "big").write_bytes(b"x" * 100_000)
    assert clean("--keep", "4", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in result["runs"]] == ["run4"]
    assert result["bytes"] == result["runs"][0]["bytes"] > 100_000


@pytest.mark.parametrize("words", [[], ["--keep", "-1"], ["--older-than", "soon"], ["--older-than", "7"], ["nothing"]])
def test_what_it_does_not_understand_it_does_not_do(root: Path, words: list[str]) -> None:
    with pytest.raises(TrimtabError):
        clean(*words)
    assert len(names(root)) == 5


def test_what_is_no_run_is_not_touched(root: Path, tmp_path: Path) -> None:
    (root / "notes").mkdir()
    (root / "foreign").mkdir()
    (root / "foreign" / "run.json").write_text('{"schema": "theirs"}')
    outside = make(tmp_path / "outside")
    (root / "link").symlink_to(outside, target_is_directory=True)
    (root / "run0" / "link").symlink_to(outside, target_is_directory=True)
    assert clean("--keep", "0") == 0
    assert names(root) == ["foreign", "link", "notes"]
    assert (outside / "run.json").exists()
    for name in ("notes", "foreign", "link", str(tmp_path), "..", "."):
        with pytest.raises(TrimtabError, match="not touched"):
            clean(name)
    assert names(root) == ["foreign", "link", "notes"]


def test_a_linked_root_is_not_followed(root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "elsewhere")
    root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TrimtabError, match="symbolic link"):
        clean("--keep", "0")
    assert len(names(tmp_path / "elsewhere")) == 5


def test_a_run_under_way_stays(root: Path) -> None:
    writer = RunWriter(root / "now", {}, on_trouble=pytest.fail)
    assert clean("--keep", "0") == 0
    assert names(root) == ["now"]
    with pytest.raises(TrimtabError, match="under way"):
        clean("now")
    writer.close()
    assert clean("now") == 0


def test_a_directory_of_the_user_with_other_files_in_it_is_left_to_them(root: Path, tmp_path: Path) -> None:
    out = make(tmp_path / "out")
    (out / "model.pt").write_text("weights")
    with pytest.raises(TrimtabError, match=r"model\.pt"):
        clean(str(out))
    (out / "model.pt").unlink()
    assert clean(str(out)) == 0
    assert not out.exists()
    assert len(names(root)) == 5


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5h", 5400), ("7d", 604_800), ("2w", 1_209_600)])
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (34_567_890, "34.6 MB"), (5 * 10**15, "5000.0 TB")],
)
def test_sizes(nbytes: int, text: str) -> None:
    assert cli.size(nbytes) == text
