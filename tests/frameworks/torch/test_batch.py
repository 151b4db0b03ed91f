"""`--keep-batch`: which tensors of a step are held, and what is said where they are not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from trimtab.frameworks.torch import _batch
from trimtab.frameworks.torch._calls import tensors_in, with_tensors


def event_of(tmp_path: Any) -> dict[str, Any]:
    return dict(json.loads((tmp_path / "blackbox/event.json").read_text()))


def train(model: nn.Module, lose_at: int, loss_of: Any, steps: int = 40) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.zero_grad()
        loss = loss_of(step)
        (loss * (math.nan if step == lose_at else 1)).backward()
        optimizer.step()


@pytest.mark.parametrize("step", [0, 1, 23])
def test_the_batch_of_the_step_that_failed_is_kept_and_its_weights(kept, tmp_path, step):
    x, y = torch.randn(40, 6, 4), torch.randn(40, 6, 1)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    history = []

    def loss_of(i: int) -> torch.Tensor:
        history.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return F.mse_loss(model(x[i]), y[i])

    train(model, step, loss_of)
    kept.finish()
    batch = load_file(tmp_path / "blackbox/batch.safetensors")
    assert torch.equal(batch["forward0/args/0"], x[step])
    assert torch.equal(batch["loss0/targets"], y[step])
    assert batch.keys() == {"forward0/args/0", "loss0/targets", "random_state/0"}
    failed = load_file(tmp_path / "blackbox/failed.safetensors")
    assert failed.keys() == history[step].keys()
    assert all(torch.equal(failed[name], weights) for name, weights in history[step].items())
    assert event_of(tmp_path)["batch"]["losses"] == ["mse"]


def test_nests_and_keywords_are_kept_and_what_was_computed_is_not(kept, tmp_path):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 1)

        def forward(self, pair: Any, *, extra: Any, flag: bool) -> torch.Tensor:
            return self.inner(pair[0] + pair[1]["x"] + extra) if flag else pair[0]

    class Penalty(nn.Module):
        def forward(self, out: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return (out - target).abs().mean()

    model, penalty = Model(), Penalty()
    given = [torch.randn(5, 4) for _ in range(3)]
    target = torch.randn(5, 1)

    def loss_of(i: int) -> torch.Tensor:
        return penalty(model((given[0], {"x": given[1]}), extra=given[2], flag=True), target)

    train(model, 15, loss_of, steps=16)
    kept.finish()
    batch = load_file(tmp_path / "blackbox/batch.safetensors")
    assert {name for name in batch if not name.startswith("random")} == {
        "forward0/args/0/0", "forward0/args/0/1/x", "forward0/kwargs/extra", "forward1/args/1",
    }  # fmt: skip
    assert torch.equal(batch["forward0/kwargs/extra"], given[2])
    assert torch.equal(batch["forward1/args/1"], target)


def test_what_was_changed_in_place_is_said(kept, tmp_path):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(5, 4)
    model(x).mul(math.nan).sum().backward()
    x.zero_()
    optimizer.step()
    kept.finish()
    assert event_of(tmp_path)["batch"]["changed_in_place"] == ["forward0/args/0"]


def test_a_batch_that_is_too_large_is_not_kept_and_that_is_said(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(_batch, "MAX_BYTES", 100)
    model = nn.Linear(4, 1)
    train(model, 3, lambda i: model(torch.randn(50, 4)).mean(), steps=4)
    kept.finish()
    assert not (tmp_path / "blackbox/batch.safetensors").exists()
    assert "MB are kept" in event_of(tmp_path)["batch"]["not_kept"]


def test_accumulated_batches_are_all_kept_and_those_of_a_validation_are_not(kept, tmp_path):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x = torch.randn(13, 3, 5, 4)
    for i in range(13):
        optimizer.zero_grad()
        for k in range(3):
            (model(x[i, k]).mean() * (math.nan if (i, k) == (12, 1) else 1)).backward()
            with torch.no_grad():
                model(torch.zeros(2, 4))
        optimizer.step()
    kept.finish()
    batch = load_file(tmp_path / "blackbox/batch.safetensors")
    assert [torch.equal(batch[f"forward{k}/args/0"], x[12, k]) for k in range(3)] == [True] * 3
    assert "forward3/args/0" not in batch


def test_the_recomputation_of_a_checkpoint_is_no_call_of_the_script(kept, tmp_path):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(checkpoint(self.a, x, use_reentrant=False))

    model = Model()
    train(model, 3, lambda i: model(torch.randn(5, 4)).mean(), steps=4)
    kept.finish()
    assert event_of(tmp_path)["batch"]["forwards"] == 1


def test_a_call_that_ended_in_an_exception_does_not_hide_the_next(kept, tmp_path):
    model = nn.Sequential(nn.Linear(4, 1))

    def loss_of(i: int) -> torch.Tensor:
        with pytest.raises(RuntimeError):
            model(torch.zeros(2, 5))
        return model(torch.ones(2, 4)).mean()

    train(model, 3, loss_of, steps=4)
    kept.finish()
    batch = load_file(tmp_path / "blackbox/batch.safetensors")
    assert torch.equal(batch["forward1/args/0"], torch.ones(2, 4))


def test_the_second_optimizer_that_fails_leaves_the_first_ones_box_alone(kept, tmp_path):
    for model in (nn.Linear(4, 1), nn.Linear(7, 1)):
        train(model, 2, lambda i, model=model: model(torch.ones(2, model.in_features)).mean(), steps=4)
    kept.finish()
    assert load_file(tmp_path / "blackbox/weights.safetensors")["weight"].shape == (1, 4)
    assert load_file(tmp_path / "blackbox/batch.safetensors")["forward0/args/0"].shape == (2, 4)


def test_without_the_option_nothing_is_hooked_and_nothing_is_kept(watched, tmp_path):
    model = nn.Linear(4, 1)
    train(model, 15, lambda i: model(torch.ones(2, 4)).mean(), steps=16)
    assert not nn.modules.module._global_forward_pre_hooks
    watched.finish()
    assert "batch" not in event_of(tmp_path)
    assert not (tmp_path / "blackbox/batch.safetensors").exists()


def test_kept_tensors_take_the_place_of_others_in_the_same_nest():
    old = ({"a": torch.zeros(2), "b": 3}, [torch.zeros(1), torch.zeros(1, requires_grad=True)], "text")
    kept = {path: tensor + 1 for path, tensor in tensors_in(old, "x")}
    assert kept.keys() == {"x/0/a", "x/1/0"}
    used: set[str] = set()
    new = with_tensors(old, "x", kept, used)
    assert used == kept.keys()
    assert torch.equal(new[0]["a"], torch.ones(2))
    assert new[1][1] is old[1][1]
    assert (new[0]["b"], new[2]) == (3, "text")


def test_an_infinite_loss_after_one_that_blew_up_is_still_looked_into(watched):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.ones(2, 4)
    for step in range(16):
        optimizer.zero_grad()
        out = model(x) * (1e6 if step == 12 else 1)
        (torch.exp(out + 1e9) if step == 15 else out).mean().backward()
        optimizer.step()
    watched.finish()
    (event,) = [data for kind, data in watched.events if kind == "nonfinite"]
    assert event["forward"]["op"] == "exp"
    assert [kind for kind, _ in watched.events].count("snapshot") == 1
