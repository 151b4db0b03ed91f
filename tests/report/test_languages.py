"""What a run says in Chinese, and that its files stay English."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_show import root  # noqa: F401 - a fixture
from trimtab._language import speaking
from trimtab.cli import main
from trimtab.findings import Finding
from trimtab.verbs._show import show_run

CHINESE = re.compile("[\u4e00-\u9fff]")
SCRIPT = """\
import torch

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=30.0)
for step in range(60):
    x = torch.randn(16, 4)
    optimizer.zero_grad()
    loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
    loss.backward()
    optimizer.step()
"""


@pytest.fixture(params=["en", "zh"])
def outcome(request, tmp_path):
    """A training that blows up under `trimtab run`: language, stderr, run directory."""
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "trimtab", "run", "--out", "run", "train.py"],
        cwd=tmp_path,
        env={**os.environ, "TRIMTAB_LANG": request.param, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    return request.param, done.stderr.decode("utf-8"), tmp_path / "run"


def test_a_run_is_told_in_the_users_language_and_written_in_english(outcome):
    language, said, run = outcome
    assert bool(CHINESE.search(said)) is (language == "zh")
    assert ("本次运行" if language == "zh" else "This run") in said
    for path in ("verdict.json", "run.json"):
        assert not CHINESE.search((run / path).read_text(encoding="utf-8"))
    kinds = [finding["kind"] for finding in json.loads((run / "verdict.json").read_text())["findings"]]
    assert kinds
    assert all(kind in said for kind in kinds)


def test_a_run_that_was_judged_in_english_is_shown_in_chinese(root, monkeypatch, capsys):  # noqa: F811
    assert main(["show", "latest"]) == 0
    assert not CHINESE.search(capsys.readouterr().out)
    monkeypatch.setenv("TRIMTAB_LANG", "zh")
    assert main(["show", "latest"]) == 0
    text = capsys.readouterr().out
    assert "损失在第 77 步变为 NaN" in text
    assert "记录不完整" in text
    assert main(["show", "latest", "--json"]) == 0
    assert not CHINESE.search(capsys.readouterr().out)
    assert main(["show"]) == 0
    assert "训练失控" in capsys.readouterr().out


def test_a_killed_run_that_is_first_shown_in_chinese_is_kept_in_english(root):  # noqa: F811
    with speaking("zh"):
        shown = show_run("latest", root)
    assert CHINESE.search(shown.verdict.findings[0].says)
    kept = (Path(str(shown.record.path)) / "verdict.json").read_text(encoding="utf-8")
    assert not CHINESE.search(kept)
    assert "breaks off" in kept


def test_an_alarm_that_was_over_by_the_end_is_told_without_a_word_of_english(root):  # noqa: F811
    name = "2026-11-24-100000-train"
    verdict = show_run(name, root).verdict.to_json()
    alarm = Finding(
        "diverging-loss", "warning", 3, 9, "from step 3 on the loss rose; by the end of the run this was over"
    )
    verdict["findings"].append(alarm.to_json())
    (root / name / "verdict.json").write_text(json.dumps(verdict))
    with speaking("zh"):
        (found,) = show_run(name, root).verdict.findings
    assert (found.kind, found.first_step, found.last_step) == ("diverging-loss", 3, 9)
    assert not re.search("[A-Za-z]", found.says.replace("trimtab", ""))


def test_the_headings_and_the_summary_of_an_explanation_are_in_chinese(monkeypatch, capsys):
    monkeypatch.setenv("TRIMTAB_LANG", "zh")
    assert main(["explain", "vanishing-gradient"]) == 0
    text = capsys.readouterr().out
    assert "为何有害" in text
    assert "信号从第一层到最后一层缩小" in text
    assert main(["explain"]) == 0
    assert capsys.readouterr().out.count("。") > 40
