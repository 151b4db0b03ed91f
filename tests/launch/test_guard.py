"""`trimtab run --with` and `--guard` on an unchanged script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Bench

pytest.importorskip("torch")

SCRIPT = """
import torch

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Linear(8, 1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
for step in range(120):
    x = torch.randn(16, 8)
    if step in BAD:
        if DROP:
            continue
        x = x * float("nan")
    loss = (model(x) - x[:, :1]).square().mean()
    optimizer.zero_grad()
    loss.backward()
    CLIP
    optimizer.step()
print([float(p.detach().double().sum()).hex() for p in model.parameters()])
"""


def script(bench: Bench, bad: Any = (), *, drop: bool = False, clip: str = "pass") -> None:
    text = SCRIPT.replace("BAD", repr(bad)).replace("DROP", repr(drop)).replace("CLIP", clip)
    bench.write({"train.py": text})


def verdict(bench: Bench) -> dict[str, Any]:
    return dict(json.loads((bench.directory / "run" / "verdict.json").read_text()))


def test_a_guard_that_need_not_act_changes_nothing(bench: Bench) -> None:
    script(bench)
    plain = bench.plain(["train.py"])
    guarded = bench.watched(["train.py"], ours=["--guard", "--out", "run"], quiet=False)
    assert (guarded.status, guarded.stdout) == (0, plain.stdout)
    assert "guard:" not in guarded.stderr
    assert [(p["policy"], p["acted"], p["steps"]) for p in verdict(bench)["guard"]] == [
        ("skip=nonfinite", 0, 120),
        ("skip=spike:6", 0, 120),
    ]


def test_a_bad_batch_is_left_out_as_if_it_had_not_been(bench: Bench) -> None:
    script(bench, (40,), drop=True)
    without = bench.plain(["train.py"])
    script(bench, (40,))
    guarded = bench.watched(["train.py"], ours=["--guard", "--out", "run"], quiet=False)
    assert guarded.stdout == without.stdout
    assert guarded.stderr.count("trimtab: guard: skip=nonfinite leaves out step 40 (gradient norm nan)") == 1
    found = verdict(bench)
    assert found["outcome"] == "trained"
    assert found["guard"][0] == {
        "policy": "skip=nonfinite",
        "steps": 120,
        "acted": 1,
        "skipped": 1,
        "least_scale": 1.0,
        "least_lr_scale": 1.0,
        "went_back": 0,
        "warns": "",
    }


def test_a_clip_does_what_the_scripts_own_would(bench: Bench) -> None:
    script(bench, clip="torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)")
    own = bench.plain(["train.py"])
    script(bench)
    ours = bench.watched(["train.py"], ours=["--with", "clip=global:0.05", "--out", "run"])
    values = [[float.fromhex(x) for x in json.loads(o.stdout.replace("'", '"'))] for o in (own, ours)]
    assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-6)
    assert "of their length as a rule" in verdict(bench)["guard"][0]["warns"]


def test_a_policy_that_hides_a_fault_is_warned_of(bench: Bench) -> None:
    script(bench, tuple(range(5, 120, 6)))
    bench.watched(["train.py"], ours=["--with", "skip=nonfinite", "--out", "run"])
    assert "left out 17% of the steps" in verdict(bench)["guard"][0]["warns"]


def test_where_all_is_lost_it_is_said_and_the_script_ends_as_it_would(bench: Bench) -> None:
    script(bench, tuple(range(30, 120)))
    done = bench.watched(["train.py"], ours=["--guard", "--out", "run"], quiet=False)
    assert done.status == 0
    assert "all of the last 50 steps were left out: the weights are finite still" in done.stderr
    found = verdict(bench)
    assert found["outcome"] == "blew_up"
    assert [f["kind"] for f in found["findings"]] == ["non-finite"]
    assert "the guard left out 90 steps in a row" in found["findings"][0]["says"]


def test_an_optimizer_within_backward_is_guarded_tensor_by_tensor(bench: Bench) -> None:
    bench.write(
        {
            "train.py": """
import torch
torch.manual_seed(0)
model = torch.nn.Linear(4, 2)
for p in model.parameters():
    optimizer = torch.optim.SGD([p], lr=0.1)
    def hook(p, optimizer=optimizer):
        optimizer.step()
        optimizer.zero_grad()
    p.register_post_accumulate_grad_hook(hook)
for step in range(4):
    x = torch.randn(3, 4) * (float("inf") if step == 2 else 1.0)
    model(x).square().mean().backward()
print(all(bool(torch.isfinite(p).all()) for p in model.parameters()))
"""
        }
    )
    done = bench.watched(["train.py"], ours=["--with", "skip=nonfinite", "--out", "run"])
    assert done.stdout == "True\n"


def test_all_ranks_leave_out_the_step_of_which_one_saw_the_bad_batch(bench: Bench) -> None:
    bench.write(
        {
            "train.py": """
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
torch.set_num_threads(1)
torch.manual_seed(0)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(8, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
torch.manual_seed(dist.get_rank())
for step in range(20):
    x = torch.randn(4, 8) * (float("nan") if step == 10 and dist.get_rank() == 1 else 1.0)
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
total = sum(float(p.detach().double().sum()) for p in model.parameters())
open(f"rank{dist.get_rank()}", "w").write(f"{total!r} {int(optimizer.state[model.module.bias]['step'])}")
dist.destroy_process_group()
"""
        }
    )
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "train.py"]
    done = bench.watched(torchrun, ours=["--guard", "--out", "run"], quiet=False)
    assert done.stderr.count("guard: skip=nonfinite leaves out step 10 ") == 1
    ends = [(bench.directory / f"rank{rank}").read_text() for rank in (0, 1)]
    assert ends[0] == ends[1]
    assert ends[0].endswith(" 19")
    assert "nan" not in ends[0]
    assert [(p["steps"], p["skipped"]) for p in verdict(bench)["guard"]] == [(20, 1), (20, 0)]
