"""`trimtab run --keep-batch` and `trimtab show RUN --replay`, on scripts that fail in different ways."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

BEGIN = """
import sys, torch
from torch import nn
from torch.nn import functional as F
torch.manual_seed(0)
x = torch.randn(64 * 20, 8)
y = x @ torch.randn(8, 1)
"""
END = """
print("ended")
torch.save(model.state_dict(), "weights.pt")
"""
NAN_BATCH = (
    BEGIN
    + """
x[64 * 13 + 5, 3] = float("nan")
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for i in range(20):
    rows = slice(64 * i, 64 * i + 64)
    optimizer.zero_grad()
    F.mse_loss(model(x[rows]), y[rows]).backward()
    optimizer.step()
"""
    + END
)
LOG_OF_ZERO = (
    BEGIN
    + """
model = nn.Linear(8, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for i in range(20):
    optimizer.zero_grad()
    p = torch.sigmoid(model(x[64 * i : 64 * i + 64] * (300 if i == 9 else 1)))
    torch.log(p).mean().backward()
    optimizer.step()
"""
    + END
)
LR_TIMES_1000 = (
    BEGIN
    + """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 1)
    def forward(self, *, inputs):
        return self.b(torch.tanh(self.a(inputs)))
model, loss_function = Model(), nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1 * float(sys.argv[1]), momentum=0.9)
for i in range(20):
    rows = torch.randint(0, len(x), (32,))
    optimizer.zero_grad()
    loss_function(model(inputs=x[rows]), y[rows]).backward()
    optimizer.step()
"""
    + END
)
BAD_LABEL = (
    BEGIN
    + """
labels = (y[:, 0] > 0).long()
labels[64 * 7 + 3] = 2
model = nn.Linear(8, 2)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for i in range(20):
    rows = slice(64 * i, 64 * i + 64)
    optimizer.zero_grad()
    F.cross_entropy(model(x[rows]), labels[rows]).backward()
    optimizer.step()
"""
    + END
)


def trimtab(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trimtab", *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TRIMTAB_QUIET": "1", "TRIMTAB_LANG": "en"},
    )  # fmt: skip


def train(cwd: Path, script: str, *words: str, keep: bool = True) -> None:
    (cwd / "train.py").write_text(script)
    trimtab("run", "--out", "run", *(["--keep-batch"] if keep else []), "train.py", *words, cwd=cwd)


def replayed(cwd: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = trimtab("show", "run", "--replay", "--json", *words, cwd=cwd)
    return done.returncode, json.loads(done.stdout)


def experiment(data: dict[str, Any], weights: str, batch: str) -> dict[str, Any]:
    (found,) = [e for e in data["experiments"] if (e["weights"], e["batch"]) == (weights, batch)]
    return found


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A directory with a script that has met a NaN in its inputs, and its run, which tests leave as it is."""
    directory = tmp_path_factory.mktemp("lost")
    train(directory, NAN_BATCH)
    (directory / "weights.pt").unlink()
    return directory


def test_a_batch_with_a_nan_does_it_again_and_is_to_blame(lost):
    status, data = replayed(lost)
    assert (status, data["again"]) == (0, True)
    assert data["event"]["failed_step"] == 13
    inputs = next(t for t in data["kept"]["batch"] if t["name"] == "forward0/args/0")
    assert (inputs["nonfinite"], inputs["nonfinite_rows"]) == (1, [5])
    event = experiment(data, "failed", "kept")
    assert event["loss"] == "nan"
    assert sorted(event["nonfinite"]) == sorted(data["event"]["tensors"])
    assert event["fault"]["tensor"] == data["event"]["forward"]["tensor"]
    assert not experiment(data, "failed", "script")["nonfinite"]
    assert "The batch is to blame" in data["reading"][0]
    assert data["caveats"] == []


def test_a_log_of_zero_does_it_again_though_its_loss_is_no_loss_function(tmp_path):
    train(tmp_path, LOG_OF_ZERO)
    status, data = replayed(tmp_path)
    assert (status, data["event"]["failed_step"]) == (0, 9)
    assert experiment(data, "failed", "kept")["fault"]["op"] == "log"
    assert experiment(data, "failed", "kept")["nonfinite"]
    assert "No loss function of PyTorch was seen" in data["caveats"][0]


def test_a_learning_rate_times_1000_does_it_again_to_the_digit_and_the_weights_are_to_blame(tmp_path):
    train(tmp_path, LR_TIMES_1000, "1000")
    status, data = replayed(tmp_path)
    assert (status, data["event"]["kind"]) == (0, "blow-up")
    assert experiment(data, "failed", "kept")["loss"] == pytest.approx(data["event"]["loss"], rel=1e-6)
    assert experiment(data, "start", "kept")["loss"] < 100
    assert "The weights are to blame" in data["reading"][0]


def test_an_exception_is_raised_again_and_the_script_is_run_once_more_for_the_rest(tmp_path):
    train(tmp_path, BAD_LABEL)
    status, data = replayed(tmp_path)
    assert (status, data["event"]["type"]) == (0, "IndexError")
    assert experiment(data, "failed", "kept")["exception"] == "IndexError"
    assert "exception" not in experiment(data, "failed", "script")
    assert next(t for t in data["kept"]["batch"] if t["name"] == "loss0/targets")["largest"] == 2
    assert data["event"]["failed_step"] == 7


def test_dropout_and_all_else_that_is_drawn_is_drawn_again(tmp_path):
    """The loss of a step with dropout comes out to the last digit."""
    script = NAN_BATCH.replace('float("nan")', "1e8")
    train(tmp_path, script)
    status, data = replayed(tmp_path)
    assert (status, data["event"]["kind"]) == (0, "blow-up")
    assert experiment(data, "failed", "kept")["loss"] == pytest.approx(data["event"]["loss"], rel=1e-6)
    inputs = next(t for t in data["kept"]["batch"] if t["name"] == "forward0/args/0")
    assert inputs["far_rows"] == [5]


def test_a_run_without_the_batch_shows_what_there_is_and_does_not_claim_to_have_repeated_it(tmp_path):
    train(tmp_path, NAN_BATCH, keep=False)
    assert not (tmp_path / "run/blackbox/batch.safetensors").exists()
    status, data = replayed(tmp_path)
    assert (status, data["again"]) == (3, None)
    assert "--keep-batch" in data["caveats"][0]
    assert {e["batch"] for e in data["experiments"]} == {"script"}
    assert "batch" not in data["kept"]
    assert "the batch of that step is suspect" in data["reading"][0]
    assert data["kept"]["weights"]


def test_weights_that_do_it_with_any_batch_are_found_out_without_the_batch_too(tmp_path):
    train(tmp_path, LR_TIMES_1000, "1000", keep=False)
    status, data = replayed(tmp_path)
    assert (status, data["again"]) == (0, True)
    assert "Another batch does the same" in data["reading"][0]


def test_a_healthy_run_has_no_black_box_and_says_so(tmp_path):
    train(tmp_path, LR_TIMES_1000, "0.1")
    done = trimtab("show", "run", "--replay", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no black box" in done.stderr


def test_the_page_says_first_which_command_it_runs_and_leaves_the_script_before_its_end(lost):
    done = trimtab("show", "run", "--replay", cwd=lost)
    assert done.returncode == 0
    assert not (lost / "weights.pt").exists()
    assert f"{lost / 'train.py'}" in done.stderr
    assert "running your script" in done.stderr
    assert "The event of step 13 happened again." in done.stdout
    assert "ended" not in done.stdout.split()
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_command_with_a_secret_cannot_be_repeated_unless_it_is_given(tmp_path):
    secret = "--api-key", "hf_abcdefghijklmnop"
    train(tmp_path, NAN_BATCH, *secret)
    status, data = replayed(tmp_path)
    assert (status, data["command"]) == (3, None)
    assert "secrets" in data["reason"]
    assert data["kept"]["batch"]
    assert replayed(tmp_path, "--", "train.py", *secret)[0] == 0


def test_another_model_is_told_from_the_one_that_failed(lost):
    (lost / "other.py").write_text(NAN_BATCH.replace("16", "17"))
    status, data = replayed(lost, "--", "other.py")
    assert (status, data["again"]) == (3, None)
    assert "built otherwise" in data["reason"]


def test_a_script_that_fails_before_its_first_step_is_quoted(lost):
    (lost / "broken.py").write_text("raise SystemExit('no data here')")
    status, data = replayed(lost, "--", "broken.py")
    assert status == 3
    assert "no data here" in data["reason"]


def test_keeping_the_batch_changes_no_bit(tmp_path):
    (tmp_path / "train.py").write_text(NAN_BATCH.replace('float("nan")', "1e8"))
    ends = []
    for ours in (None, [], ["--keep-batch"]):
        way = [] if ours is None else ["-m", "trimtab", "run", "--out", f"run{len(ends)}", *ours]
        done = subprocess.run(
            [sys.executable, *way, "train.py"], cwd=tmp_path, capture_output=True, check=False, timeout=120,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TRIMTAB_QUIET": "1"},
        )  # fmt: skip
        weights = tmp_path / "weights.pt"
        ends.append((done.returncode, done.stdout, done.stderr, hashlib.sha256(weights.read_bytes()).hexdigest()))
        weights.unlink()
    assert ends[0] == ends[1] == ends[2]
    assert (tmp_path / "run2/blackbox/batch.safetensors").exists()


@pytest.mark.parametrize("words", [["--replay"], ["run", "--", "train.py"]])
def test_what_replay_needs_is_said(tmp_path, words):
    done = trimtab("show", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "--replay" in done.stderr
