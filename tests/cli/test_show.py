"""`trimtab show` and `trimtab explain` on runs on disk."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.runs._feed import message
from trimtab.cli import main
from trimtab.findings import TROUBLES, judge
from trimtab.runs import Record, RunWriter


def write_run(root: Path, name: str, loss: np.ndarray, *, closed: bool = True) -> Path:
    """A run as the recorder writes it; `closed` False: its recorder was killed."""
    path = root / name
    path.mkdir(parents=True)
    writer = RunWriter(path, {"program": "train", "command": ["train.py"]}, max_bytes=10**9, on_trouble=print)
    n = len(loss)
    process = writer.process({"pid": 1})
    columns = {
        "optimizer": np.zeros(n, "<i2"), "step": np.arange(n, dtype="<i8"), "time": np.arange(n) * 0.01,
        "loss": np.asarray(loss, "<f8"), "backwards": np.ones(n, "<i4"), "lr": np.full(n, 0.1),
        "lr_max": np.full(n, 0.1), "grad_norm": np.where(np.isfinite(loss), 1.0, np.nan),
        "nonfinite": np.where(np.isfinite(loss), 0, 2).astype("<i4"), "sampled": np.arange(n) % 16 == 0,
        "skipped": np.zeros(n, bool), "watch_seconds": np.zeros(n, "<f4"),
    }  # fmt: skip
    writer.rows(process, *message("steps", columns))
    writer.rows(process, *message("losses", {"optimizer": np.zeros(1, "<i2"), "step": np.zeros(1, "<i8"),
                                             "chance": np.full(1, 2.3)}, kind=["cross_entropy"]))  # fmt: skip
    writer.flush()
    if closed:
        writer.close(status=0)
    else:
        meta = json.loads((path / "run.json").read_text())
        meta["recorder"] = {"pid": 0, "born": "0", "host": "elsewhere"}
        (path / "run.json").write_text(json.dumps(meta))
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    healthy = 0.1 + 2.2 * np.exp(-np.arange(200) / 30)
    write_run(tmp_path / ".trimtab", "2026-11-24-100000-train", healthy)
    lost = np.where(np.arange(200) >= 77, np.nan, healthy)
    write_run(tmp_path / ".trimtab", "2026-11-24-100001-train", lost, closed=False)
    return tmp_path / ".trimtab"


def test_the_list_has_the_newest_first_and_judges_a_killed_run(root, capsys):
    assert main(["show"]) == 0
    text = capsys.readouterr().out
    assert text.index("100001") < text.index("100000")
    assert "Blew up" in text
    assert (root / "2026-11-24-100001-train" / "verdict.json").exists()
    assert main(["show", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [run["outcome"] for run in data] == ["blew_up", "trained"]


def test_no_runs_is_said_with_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["show"]) == 0
    assert "trimtab run train.py" in capsys.readouterr().out
    assert main(["show", "latest"]) == 2
    assert "no runs" in capsys.readouterr().err


def test_a_run_has_its_page_and_its_json(root, capsys):
    assert main(["show", "2026-11-24-100000-train"]) == 0
    assert "Trained." in capsys.readouterr().out
    assert main(["show", "latest", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["outcome"] == "blew_up"
    assert data["findings"][0]["first_step"] == 77
    assert data["run"]["ended"] is False


def test_a_run_cut_short_says_so_though_its_loss_was_good(root, capsys):
    write_run(root, "2026-11-24-100002-train", 0.1 + 2.2 * np.exp(-np.arange(200) / 30), closed=False)
    assert main(["show", "latest"]) == 0
    assert "breaks off" in " ".join(capsys.readouterr().out.split())


def test_a_run_whose_script_was_killed_with_us_says_so(root, capsys):
    path = root / "2026-11-24-100000-train"
    meta = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**meta, "status": None}))
    assert main(["show", path.name]) == 0
    assert "how the script ended is not known" in " ".join(capsys.readouterr().out.split())


def test_a_damaged_table_is_said(root, capsys):
    for part in (root / "2026-11-24-100000-train" / "steps").glob("*.parquet"):
        part.write_bytes(b"not Parquet at all")
    (root / "2026-11-24-100000-train" / "verdict.json").write_text("{")
    assert main(["show", "2026-11-24-100000-train"]) == 0
    assert "damaged" in capsys.readouterr().out


def test_a_mistyped_name_is_answered_with_the_near_ones(root, capsys):
    assert main(["show", "2026-11-24-10000-train"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_pandas_is_not_imported(root):
    """PyArrow would, if only to ask whether an array is one of pandas': 0.2 s of every `trimtab show`."""
    (root / "2026-11-24-100000-train" / "verdict.json").unlink(missing_ok=True)
    command = [sys.executable, "-X", "importtime", "-m", "trimtab", "show", "2026-11-24-100000-train"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Trained." in done.stdout, done.stderr[-300:]
    assert "pyarrow" in done.stderr
    assert "pandas._libs" not in done.stderr


def test_follow_ends_with_the_run_and_its_page(root, capsys):
    assert main(["show", "--follow", "2026-11-24-100000-train"]) == 0
    assert "Trained." in capsys.readouterr().out


def test_follow_waits_for_the_first_run_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begin = threading.Timer(
        0.2, write_run, (tmp_path / ".trimtab", "2026-11-24-100000-train", np.linspace(2.3, 0.1, 99))
    )
    begin.start()
    assert main(["show", "--follow"]) == 0
    begin.join()
    shown = capsys.readouterr()
    assert "no run under .trimtab yet; waiting for one" in shown.err
    assert "Trained." in shown.out
    assert main(["show", "--follow", "no-such-run"]) == 2


def test_the_verdict_from_disk_is_the_one_from_memory(root):
    verdict = judge(Record.open(root / "2026-11-24-100001-train"))
    assert (verdict.outcome, verdict.findings[0].kind, verdict.findings[0].first_step) == ("blew_up", "non-finite", 77)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda t: t.name)
def test_every_trouble_can_be_explained(trouble, capsys):
    assert main(["explain", trouble.name]) == 0
    text = capsys.readouterr().out
    assert all(title in text for title in ("What is measured", "What it is not", "Threshold", "What to try"))
    assert main(["explain", trouble.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == trouble.name


def test_explain_lists_and_answers_typos(capsys):
    assert main(["explain"]) == 0
    assert "learning-rate-too-high" in capsys.readouterr().out
    assert main(["explain", "vanishing gradients"]) == 2
    assert "did you mean vanishing-gradient" in capsys.readouterr().err
    assert main(["explain", "nonsense"]) == 2
    assert "lists all of them" in capsys.readouterr().err
