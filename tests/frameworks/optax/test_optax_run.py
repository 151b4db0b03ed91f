"""A script under `trimtab run`, unchanged: the same output, and a verdict."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optax")

SCRIPT = """
import sys
import jax, jax.numpy as jnp, numpy as np, optax

rate = float(sys.argv[1])
random = np.random.default_rng(0)
centres = random.normal(size=(4, 16)) * 2
labels = random.integers(0, 4, 2048)
inputs = jnp.asarray(centres[labels] + random.normal(size=(2048, 16)), jnp.float32)
labels = jnp.asarray(labels)

def init(key, sizes):
    keys = jax.random.split(key, len(sizes))
    return [
        {"kernel": jax.random.normal(k, (m, n)) * (2 / m) ** 0.5, "bias": jnp.zeros(n)}
        for k, m, n in zip(keys, sizes, sizes[1:])
    ]

def loss_of(params, x, y):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    logits = x @ params[-1]["kernel"] + params[-1]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

params = init(jax.random.key(0), [16, 32, 32, 4])
tx = optax.sgd(rate)
state = tx.init(params)

@jax.jit
def step(params, state, x, y):
    print("traced")
    loss, gradients = jax.value_and_grad(loss_of)(params, x, y)
    updates, state = tx.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss

for i in range(300):
    at = (64 * i) % 2048
    params, state, loss = step(params, state, inputs[at : at + 64], labels[at : at + 64])
print("loss", float(loss))
print("weights", float(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params))))
"""


def run(directory: Path, rate: str) -> tuple[dict[str, Any], str]:
    """The verdict, and what the script printed, which must be what plain Python prints."""
    script = directory / "train.py"
    script.write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIMTAB_")}
    environment |= {"JAX_PLATFORMS": "cpu", "TRIMTAB_QUIET": "1"}
    outputs = []
    for command in ([], ["-m", "trimtab", "run", "--out", str(directory / "run")]):
        done = subprocess.run(
            [sys.executable, *command, str(script), rate], env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    return json.loads((directory / "run" / "verdict.json").read_text()), outputs[1]


def test_a_healthy_training_is_called_healthy(tmp_path: Path) -> None:
    verdict, output = run(tmp_path, "0.05")
    assert (verdict["outcome"], verdict["steps"]) == ("trained", 300)
    assert [f["kind"] for f in verdict["findings"] if f["severity"] in ("fatal", "serious")] == []
    assert output.count("traced") == 1


def test_a_learning_rate_too_high_is_named(tmp_path: Path) -> None:
    verdict, _ = run(tmp_path, "1e6")
    assert verdict["outcome"] == "blew_up"
    causes = {cause["cause"] for finding in verdict["findings"] for cause in finding["causes"]}
    assert "learning-rate-too-high" in causes
