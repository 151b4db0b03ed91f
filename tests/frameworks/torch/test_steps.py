"""Every optimizer's steps, however the script takes them, against torch's own arithmetic."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

F = nn.functional


def small_model(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).to(dtype)


def batch(dtype: torch.dtype = torch.float32, rows: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.randn(rows, 6, dtype=dtype), torch.arange(rows) % 3


def norm_of(parameters: Any) -> float:
    return math.sqrt(sum(float(p.grad.double().square().sum()) for p in parameters if p.grad is not None))


EAGER = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type)
    and issubclass(kind, torch.optim.Optimizer)
    and kind is not torch.optim.Optimizer
    and name not in ("LBFGS", "SparseAdam", "Muon")
}


@pytest.mark.parametrize("name", EAGER)
def test_every_torch_optimizer_is_recorded_and_not_disturbed(watched, name):
    model, (x, y) = small_model(), batch()
    optimizer = EAGER[name](model.parameters(), lr=1e-2)
    expected = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        expected.append((loss.item(), norm_of(model.parameters())))
        optimizer.step()
    watched.finish()
    steps = watched.table("steps")
    assert [row["step"] for row in steps] == [0, 1, 2, 3, 4]
    for row, (loss, norm) in zip(steps, expected, strict=True):
        assert row["loss"] == loss
        assert row["grad_norm"] == pytest.approx(norm, rel=1e-5)
        assert row["grad_norm_raw"] == row["grad_norm"]
        assert row["lr"] == 1e-2
        assert row["backwards"] == 1
    assert watched.facts["optimizers"][0]["class"].endswith(name)


def test_lbfgs_is_read_at_the_first_evaluation_of_its_closure(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)
    seen: list[tuple[float, float]] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        seen.append((loss.item(), norm_of(model.parameters())))
        return loss

    returned = optimizer.step(closure)
    watched.finish()
    (row,) = watched.table("steps")
    assert row["evaluations"] == len(seen) > 1
    assert row["loss"] == seen[0][0] == returned.item()
    assert row["grad_norm"] == pytest.approx(seen[0][1], rel=1e-5)


class Evaluating(torch.optim.SGD):
    """Evaluates its closure as often as `times` says for each step."""

    def __init__(self, parameters: Any, times: list[int]) -> None:
        super().__init__(parameters, lr=0.01)
        self.times = iter(times)

    def step(self, closure: Any = None) -> Any:
        for _ in range(next(self.times)):
            closure()
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(p.grad, alpha=group["lr"])


@pytest.mark.parametrize("times", [[1] * 20, [1] * 8 + [3, 1, 1, 2, 2] + [1] * 7, [4] * 20])
def test_steps_with_closures_are_all_read_once_however_often_they_evaluate(watched, times):
    model, (x, y) = small_model(), batch()
    optimizer = Evaluating(model.parameters(), times)
    seen: list[tuple[float, float]] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        seen.append((loss.item(), norm_of(model.parameters())))
        return loss

    first = []
    for _ in times:
        first.append(len(seen))
        optimizer.step(closure)
    watched.finish()
    steps = watched.table("steps")
    assert [row["step"] for row in steps] == list(range(len(times)))
    assert [row["evaluations"] for row in steps] == times
    assert [row["loss"] for row in steps] == [seen[i][0] for i in first]
    assert [row["grad_norm"] for row in steps] == pytest.approx([seen[i][1] for i in first], rel=1e-5)


def test_a_closure_by_keyword_and_an_error_within_it(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def failing() -> torch.Tensor:
        raise KeyError("the script's own")

    with pytest.raises(KeyError, match="the script's own"):
        optimizer.step(closure=failing)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    optimizer.step(closure=closure)
    watched.finish()
    assert [row["evaluations"] for row in watched.table("steps")] == [1]


def test_accumulated_micro_batches_give_one_step_with_their_mean_loss(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for part in range(4):
        loss = F.cross_entropy(model(x[2 * part : 2 * part + 2]), y[2 * part : 2 * part + 2])
        losses.append(loss.item())
        (loss / 4).backward()
    norm = norm_of(model.parameters())
    optimizer.step()
    watched.finish()
    (row,) = watched.table("steps")
    assert row["backwards"] == 4
    assert row["loss"] == pytest.approx(sum(losses) / 4, rel=1e-6)
    assert "chance" in watched.table("losses")[0]
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-5)


def test_a_sum_divided_by_a_count_is_left_a_mean(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = F.cross_entropy(model(x), y, reduction="sum") / len(x)
    loss.backward()
    optimizer.step()
    watched.finish()
    assert watched.table("steps")[0]["loss"] == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_a_gradient_scaler_is_undone_and_its_skips_are_told(watched, fused):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=10_000)
    expected = []
    for step in range(4):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if step == 2:
            loss = loss * math.inf
        scaler.scale(loss).backward()
        expected.append((loss.item(), norm_of(model.parameters()) / 1024.0))
        scaler.step(optimizer)
        scaler.update()
    watched.finish()
    steps = watched.table("steps")
    assert [row["skipped"] for row in steps] == [False, False, True, False]
    assert steps[0]["loss"] == expected[0][0]
    assert steps[0]["grad_norm"] == pytest.approx(expected[0][1], rel=1e-5)
    assert steps[0]["loss_scale"] == 1024.0
    assert steps[2]["nonfinite"] > 0
    modules = [row for row in watched.table("modules") if row["step"] == 0 and row["module"] == "2"]
    assert 0 < modules[0]["grad_rms"] < 1


def test_a_clip_is_seen_raw_and_applied_at_sampled_and_other_steps(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    for _ in range(5):
        optimizer.zero_grad()
        (100 * F.cross_entropy(model(x), y)).backward()
        raw = norm_of(model.parameters())
        nn.utils.clip_grad_norm_(model.parameters(), max_norm=0.5)
        expected.append((raw, norm_of(model.parameters())))
        optimizer.step()
    watched.finish()
    steps = watched.table("steps")
    assert {row["sampled"] for row in steps} == {True, False}
    for row, (raw, applied) in zip(steps, expected, strict=True):
        assert row["grad_norm_raw"] == pytest.approx(raw, rel=1e-5)
        assert row["grad_norm"] == pytest.approx(applied, rel=1e-5)


def test_a_clip_by_value_and_one_of_some_parameters(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for clip in (
        lambda: nn.utils.clip_grad_value_(model.parameters(), 0.01),
        lambda: nn.utils.clip_grad_norm_(model[0].parameters(), 0.01),
    ):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        raw = norm_of(model.parameters())
        clip()
        applied = norm_of(model.parameters())
        optimizer.step()
        row = watched.table("steps")[-1]
        assert row["grad_norm_raw"] == pytest.approx(raw, rel=1e-5)
        assert row["grad_norm"] == pytest.approx(applied, rel=1e-5)


def test_a_clip_before_the_last_backward_pass_is_not_taken_for_the_gradients_norm(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    for _ in range(5):
        optimizer.zero_grad()
        (100 * F.cross_entropy(model(x), y)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        (100 * F.cross_entropy(model(x), y)).backward()
        norms.append(norm_of(model.parameters()))
        optimizer.step()
    watched.finish()
    assert [row["grad_norm"] for row in watched.table("steps")] == pytest.approx(norms, rel=1e-5)


def test_culprits_are_found_before_a_clip_spreads_them(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(x), y).backward()
    model[0].bias.grad[3] = math.nan
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert all(p.grad.isnan().any() for p in model.parameters())
    optimizer.step()
    watched.finish()
    (event,) = [data for kind, data in watched.events if kind == "nonfinite"]
    assert event["tensors"] == ["0.bias"]
    assert event["loss_finite"] is True
    assert watched.table("steps")[0]["nonfinite"] == 1


def test_two_optimizers_of_a_gan_keep_their_own_losses(watched):
    torch.manual_seed(0)
    made, told = nn.Linear(4, 6), nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    of_made, of_told = torch.optim.Adam(made.parameters()), torch.optim.SGD(told.parameters(), lr=0.1)
    expected: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(4):
        z = torch.randn(8, 4)
        of_told.zero_grad()
        loss = F.binary_cross_entropy_with_logits(told(made(z).detach()), torch.zeros(8, 1))
        loss.backward()
        of_told.step()
        expected[0].append(loss.item())
        of_made.zero_grad()
        loss = F.binary_cross_entropy_with_logits(told(made(z)), torch.ones(8, 1))
        loss.backward()
        of_made.step()
        expected[1].append(loss.item())
    watched.finish()
    for index, losses in expected.items():
        rows = [row for row in watched.table("steps") if row["optimizer"] == index]
        assert [row["loss"] for row in rows] == losses
        assert rows[0]["sampled"]
    assert not any("chance" in row for row in watched.table("losses") if row["step"] > 0)


def test_a_subclass_that_calls_its_parents_step_counts_once(watched):
    class Twice(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    model, (x, y) = small_model(), batch()
    optimizer = Twice(model.parameters(), lr=0.1)
    for _ in range(3):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    watched.finish()
    assert [row["step"] for row in watched.table("steps")] == [0, 1, 2]


def test_sparse_gradients_with_repeated_indices_and_unused_parameters(watched):
    table, unused = nn.Embedding(10, 4, sparse=True), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([table.weight, unused], lr=0.1)
    table(torch.tensor([1, 1, 2])).sum().backward()
    optimizer.step()
    watched.finish()
    (row,) = watched.table("tensors")
    assert row["tensor"] == "weight"
    assert row["grad_norm"] == pytest.approx(math.sqrt(4 * 2.0**2 + 4 * 1.0**2))


def test_tied_weights_are_one_tensor(watched):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.out.weight = self.into.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.into(x))

    model = Tied()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(torch.arange(5)), torch.arange(5)).backward()
    optimizer.step()
    watched.finish()
    assert [row["tensor"] for row in watched.table("tensors")] == ["into.weight"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_formats(watched, dtype):
    model, (x, y) = small_model(dtype), batch(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    F.cross_entropy(model(x), y).backward()
    norm = norm_of(model.parameters())
    optimizer.step()
    watched.finish()
    assert watched.table("steps")[0]["grad_norm"] == pytest.approx(norm, rel=1e-6)


def test_two_number_formats_in_one_optimizer(watched):
    single, double = nn.Linear(3, 2), nn.Linear(2, 2).double()
    optimizer = torch.optim.SGD([*single.parameters(), *double.parameters()], lr=0.1)
    double(single(torch.ones(4, 3)).double()).square().mean().backward()
    norm = norm_of([*single.parameters(), *double.parameters()])
    optimizer.step()
    watched.finish()
    assert watched.table("steps")[0]["grad_norm"] == pytest.approx(norm, rel=1e-6)
    assert watched.table("tensors")[0]["tensor"] == "linear.weight"


def test_parameter_groups_and_one_that_is_added_later(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].weight}], lr=0.1)
    for step in range(3):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if step == 0:
            optimizer.add_param_group({"params": [model[2].bias], "lr": 0.9})
    watched.finish()
    steps = watched.table("steps")
    assert [row["lr_max"] for row in steps] == [0.5, 0.9, 0.9]
    assert steps[0]["lr"] == 0.5
    assert [t["name"] for t in watched.facts["optimizers"][0]["tensors"]] == [
        "0.weight",
        "0.bias",
        "2.weight",
        "2.bias",
    ]
    assert sum(row["step"] == 1 for row in watched.table("tensors")) == 4


def test_a_gradient_that_comes_and_goes(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        if step % 2:
            model[0].weight.grad = None
        optimizer.step()
    watched.finish()
    seen = [{row["tensor"] for row in watched.table("tensors") if row["step"] == step} for step in range(6)]
    assert [len(names) for names in seen] == [4, 3, 4, 3, 4, 3]
    assert "0.weight" not in seen[1]


def test_schedulers_and_copies_accept_a_watched_optimizer(watched):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(3):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        schedule.step()
    copy.deepcopy(optimizer)
    watched.finish()
    assert [row["lr"] for row in watched.table("steps")] == [1.0, 0.5, 0.25]


def test_a_training_leaves_nothing_of_ours_in_a_saved_model(watched, tmp_path):
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.save(model, tmp_path / "before.pt")
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    torch.save(model, tmp_path / "after.pt")
    torch.save(optimizer, tmp_path / "optimizer.pt")
    assert b"trimtab" not in (tmp_path / "after.pt").read_bytes() + (tmp_path / "optimizer.pt").read_bytes()


def test_a_second_training_in_the_process_has_its_first_step_sampled(watched):
    for index in range(3):
        model, (x, y) = small_model(), batch()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(6):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        first = next(row for row in watched.table("steps") if row["optimizer"] == index)
        assert first["sampled"]
        assert any(row["optimizer"] == index and row["step"] == 0 for row in watched.table("modules"))


def test_training_in_a_thread(watched):
    import threading

    def train() -> None:
        model, (x, y) = small_model(), batch()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    watched.finish()
    assert len(watched.table("steps")) == 3


def test_backward_without_a_step_is_said(watched):
    model, (x, y) = small_model(), batch()
    F.cross_entropy(model(x), y).backward()
    watched.finish()
    assert [data["what"] for kind, data in watched.events if kind == "unseen"] == ["no step"]


def test_an_error_of_ours_is_told_once_and_the_training_goes_on(watched, monkeypatch):
    from trimtab.frameworks.torch import _watch

    def broken(**_: Any) -> Any:
        raise RuntimeError("planted")

    monkeypatch.setattr(_watch, "StepRow", broken)
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model[0].weight.detach().clone()
    for _ in range(3):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert not torch.equal(before, model[0].weight)
    assert len(watched.errors) == 1
    assert "planted" in watched.errors.pop()


@pytest.mark.filterwarnings("ignore")
def test_sharded_parameters_are_read_where_they_lie_without_a_word_to_other_processes(watched, tmp_path):
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = dist.init_device_mesh("cpu", (1,))
        model, (x, y) = small_model(), batch()
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        norms = []
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            norms.append(math.sqrt(sum(p.grad.to_local().double().square().sum().item() for p in model.parameters())))
            optimizer.step()
    finally:
        dist.destroy_process_group()
    watched.finish()
    assert [row["grad_norm"] for row in watched.table("steps")] == pytest.approx(norms, rel=1e-5)
    assert [data["what"] for kind, data in watched.events if kind == "unseen"] == ["the whole of sharded tensors"]


def test_on_a_device_norms_stay_there_until_a_block_is_sent(watched, monkeypatch):
    """A device's numbers are not fetched within a step. There is no device here: the CPU stands in for one."""
    import dataclasses

    from trimtab.frameworks.torch import _optimizers
    from trimtab.frameworks.torch._norms import plan_norms

    monkeypatch.setattr(_optimizers, "plan_norms", lambda grads: dataclasses.replace(plan_norms(grads), on_cpu=False))
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    for step in range(12):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        if step == 9:
            model[2].bias.grad[0] = math.nan
        norms.append(norm_of(model.parameters()))
        optimizer.step()
    watched.finish()
    steps = watched.table("steps")
    assert [row["grad_norm"] for row in steps[:9]] == pytest.approx(norms[:9], rel=1e-5)
    assert [row["nonfinite"] for row in steps] == [0] * 9 + [1, 4, 4]
    (event,) = [data for kind, data in watched.events if kind == "nonfinite"]
    assert event["tensors"] == ["2.bias"]


def test_muon_is_read_before_it_overwrites_its_gradients(watched):
    model, (x, y) = small_model(), batch()
    weights = [model[0].weight, model[2].weight]
    optimizer = torch.optim.Muon(weights, lr=1e-2)
    norms = []
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        norms.append(norm_of(weights))
        optimizer.step()
    watched.finish()
    assert [row["grad_norm"] for row in watched.table("steps")] == pytest.approx(norms, rel=1e-5)


def test_a_step_that_the_script_replaced_and_a_model_that_it_deleted(watched, monkeypatch):
    taken = []
    original = torch.optim.SGD.step

    def step(self: Any, closure: Any = None) -> Any:
        taken.append(1)
        return original(self, closure)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    del model
    optimizer.zero_grad()
    optimizer.step()
    del optimizer
    watched.finish()
    steps = watched.table("steps")
    assert len(taken) == 4
    assert [row["step"] for row in steps] == [0, 1, 2, 3]
    assert steps[3]["backwards"] == 3 or steps[3]["grad_norm"] == 0


def test_an_optimizer_that_steps_inside_the_backward_pass_is_said(watched):
    model, (x, y) = small_model(), batch()
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def step(p: torch.Tensor) -> None:
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        F.cross_entropy(model(x), y).backward()
    watched.finish()
    assert [data["what"] for kind, data in watched.events if kind == "unseen"] == ["optimizer in backward"]
    assert len(watched.table("steps")) == 12
