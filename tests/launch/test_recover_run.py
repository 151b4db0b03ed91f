"""`trimtab run --with recover=rollback` and the like on an unchanged script."""

from __future__ import annotations

import json

import pytest

from .conftest import Bench

pytest.importorskip("torch")

SCRIPT = """
import torch

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
optimizer = torch.optim.KIND(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999)
generator = torch.Generator().manual_seed(0)
def step_of(k):
    x = torch.randn(16, 8, generator=generator)
    loss = (model(x) - x[:, :1]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    return loss
for k in range(300):
    if k == BAD:
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(1e3)
    if CLOSURE:
        optimizer.step(lambda: step_of(k))
    else:
        step_of(k)
        optimizer.step()
    scheduler.step()
print(float(step_of(300)) < 0.05, scheduler.get_last_lr(), optimizer.param_groups[0]["lr"])
"""


def script(bench: Bench, *, bad: int = -1, kind: str = "AdamW", closure: bool = False) -> None:
    text = SCRIPT.replace("BAD", str(bad)).replace("KIND", kind).replace("CLOSURE", str(closure))
    bench.write({"train.py": text})


def asked(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--with", text)] + ["--out", "run"]


def test_a_training_whose_weights_are_lost_is_saved(bench: Bench) -> None:
    script(bench)
    healthy = bench.plain(["train.py"])
    assert healthy.stdout.startswith("True")
    script(bench, bad=200)
    assert bench.plain(["train.py"]).stdout.startswith("False")
    done = bench.watched(["train.py"], ours=asked("skip=spike", "recover=rollback:50", "recover=cut"), quiet=False)
    assert (done.status, done.stdout) == (0, healthy.stdout)
    said = "recover=rollback:50 goes back from step 209 to weights and optimizer state from before step 100"
    assert done.stderr.count(said) == 1
    found = json.loads((bench.directory / "run" / "verdict.json").read_text())
    acted = {each["policy"]: each for each in found["guard"]}
    assert acted["recover=rollback:50"]["acted"] == 21
    assert acted["recover=cut:0.1"]["acted"] > 0


def test_a_healthy_training_stays_as_it_is(bench: Bench) -> None:
    script(bench)
    plain = bench.plain(["train.py"])
    done = bench.watched(["train.py"], ours=asked("recover=rollback", "recover=cut"), quiet=False)
    assert (done.status, done.stdout) == (0, plain.stdout)
    assert "guard:" not in done.stderr


def test_what_cannot_act_on_an_optimizer_is_said_and_the_training_goes_on(bench: Bench) -> None:
    script(bench, kind="LBFGS", closure=True)
    plain = bench.plain(["train.py"])
    done = bench.watched(["train.py"], ours=asked("warmup=10"), quiet=False)
    assert (done.status, done.stdout) == (0, plain.stdout)
    assert done.stderr.count("trimtab: guard: `warmup=10` can't act on L-BFGS") == 1
    assert "the training goes on unguarded" in done.stderr


def test_bad_settings_end_before_the_script_begins(bench: Bench) -> None:
    script(bench)
    done = bench.watched(["train.py"], ours=asked("warmup=0"), quiet=False)
    assert done.status != 0
    assert done.stdout == ""
    assert "steps must be a whole number from 1 to 10000, got steps=0" in done.stderr
