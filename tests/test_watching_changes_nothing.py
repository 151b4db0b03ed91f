"""Promise 1: with no intervention, weights, stdout and exit status are plain Python's, bit for bit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
# Enough steps for sampled and other steps, snapshots and a validation.
RUNS = {
    "mlp": ["--epochs", "3", "--clip", "norm:1.0"],
    "vgg": ["--epochs", "1"],
    "resnet": ["--epochs", "1", "--augment", "crop"],
    "lstm": ["--steps", "40"],
    "gcn": ["--epochs", "30"],
    "transformer": ["--steps", "30"],
    "mlp by L-BFGS": ["--optimizer", "lbfgs", "--lr", "1", "--batch-size", "1437", "--epochs", "3"],
    "mlp that blows up": ["--init", "normal:1", "--depth", "10", "--optimizer", "sgd", "--epochs", "2"],
}


@pytest.mark.parametrize("name", RUNS)
def test_an_example_ends_with_the_same_bits_watched_and_plain(name, tmp_path):
    script = EXAMPLES / f"{name.split()[0]}.py"
    ends = []
    for way in ([sys.executable], [sys.executable, "-m", "trimtab", "run", "--out", str(tmp_path / "run")]):
        weights = tmp_path / "weights.pt"
        command = [*way, str(script), *RUNS[name], "--save", str(weights)]
        done = subprocess.run(
            command,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=200,
            check=False,
        )
        ends.append((done.returncode, done.stdout, hashlib.sha256(weights.read_bytes()).hexdigest()))
        weights.unlink()
    assert ends[0] == ends[1]
    assert ends[0][0] == 0
    assert (tmp_path / "run" / "verdict.json").exists()
    assert list((tmp_path / "run" / "steps").glob("*.parquet"))
