"""Recoveries in PyTorch: what goes back goes back to the bit, and what need not act changes no bit."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.frameworks.torch.test_guarding import KINDS, assert_same_training, same, train
from tests.frameworks.torch.test_steps import batch, small_model
from torch import nn

import trimtab
from trimtab.frameworks import torch as adapter
from trimtab.policies import PolicyError, guarding

F = nn.functional
ROLLBACK = "recover=rollback:5,skip=2,patience=3"


def with_buffers() -> nn.Module:
    """Batch norm has buffers, dropout draws from torch's generator."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def spoil(model: nn.Module, value: float = math.inf) -> None:
    with torch.no_grad():
        model[0].weight[0, 0] = value


def lengthen(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1e3)


def everything(model: nn.Module, optimizer: Any) -> Any:
    """An independent copy of what is to go back."""
    return copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"], torch.get_rng_state()))


def steps(
    optimizer: Any, model: nn.Module, numbers: range, before: Callable[[int], Any] = lambda step: None
) -> dict[int, Any]:
    """Train on the batches of these numbers, `before` each; of each what there was just before the optimizer's step."""
    copies = {}
    for step in numbers:
        before(step)
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 6, generator=generator), torch.randint(3, (8,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        copies[step] = everything(model, optimizer)
        optimizer.step()
    return copies


# recover=rollback


@pytest.mark.parametrize("name", KINDS)
def test_all_goes_back_to_the_bit(name: str) -> None:
    model = with_buffers()
    optimizer = trimtab.guard(KINDS[name](model.parameters()), model, ROLLBACK)
    copies = steps(optimizer, model, range(13), lambda step: spoil(model) if step == 12 else None)
    assert same(everything(model, optimizer), copies[5])  # copied at 0, 5 and 10: the older of the last two
    steps(optimizer, model, range(13, 15))
    weights, state, _ = everything(model, optimizer)
    assert same([weights["0.weight"], state], [copies[5][0]["0.weight"], copies[5][1]])  # these were left out
    steps(optimizer, model, range(15, 16))
    assert not same(model.state_dict()["0.weight"], weights["0.weight"])


@pytest.mark.parametrize("through_watch", [False, True])
def test_it_waits_for_its_patience_where_the_weights_are_finite(watched: Any, through_watch: bool) -> None:
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    adapter.guard(watched if through_watch else None, optimizer, model, guarding([ROLLBACK]))
    copies = steps(optimizer, model, range(15), lambda step: lengthen(model) if step == 12 else None)
    assert same(everything(model, optimizer)[:2], copies[5][:2])
    assert not same(copies[14][0], copies[5][0])


def test_before_its_first_step_an_optimizer_has_no_state_and_so_it_has_none_again() -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.AdamW(model.parameters()), model, ROLLBACK)
    copies = steps(optimizer, model, range(4), lambda step: spoil(model) if step == 3 else None)
    assert same(everything(model, optimizer), copies[0])
    assert optimizer.state_dict()["state"] == {}


def test_learning_rate_and_scheduler_stay() -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9), model, ROLLBACK)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    steps(optimizer, model, range(13), lambda step: (step and scheduler.step(), step == 12 and spoil(model)))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.9**12)
    assert scheduler.last_epoch == 12


def test_two_copies_are_kept_in_the_same_memory() -> None:
    model = with_buffers()
    optimizer = torch.optim.AdamW(model.parameters())
    adapter.guard(None, optimizer, model, guarding(["recover=rollback:2,skip=0"]))
    from trimtab.frameworks.torch._guarded import _ALONE

    recoverer = _ALONE[optimizer]._guard._recoverer
    assert recoverer is not None
    seen: set[int] = set()
    for round_ in range(4):
        steps(optimizer, model, range(6), lambda step: spoil(model) if step == 5 else None)
        copies = [*recoverer._copies, *filter(None, [recoverer._spare])]
        assert len(copies) == 2
        places = {kept.values.data_ptr() for each in copies for kept in each.weights}
        assert len(places) == 2 * len(list(model.parameters()))
        assert round_ == 0 or places == seen
        seen = places
        assert all(kept.values.device.type == "cpu" for each in copies for kept in each.weights)


def problem() -> Callable[[nn.Module, torch.Generator], torch.Tensor]:
    truth = torch.randn(16, 1, generator=torch.Generator().manual_seed(3))

    def loss(model: nn.Module, generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(32, 16, generator=generator)
        return F.mse_loss(model(x), torch.tanh(x @ truth))

    return loss


def final_loss(texts: list[str], poison: Callable[[nn.Module], None] | None, seed: int, count: int = 400) -> float:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    if texts:
        trimtab.guard(optimizer, model, *texts)
    loss, generator = problem(), torch.Generator().manual_seed(seed)
    for step in range(count):
        if step == 200 and poison is not None:
            poison(model)
        optimizer.zero_grad()
        loss(model, generator).backward()
        optimizer.step()
    with torch.no_grad():
        return float(sum(loss(model, generator) for _ in range(20)) / 20)


@pytest.fixture(scope="module")
def healthy() -> list[float]:
    return [final_loss([], None, seed) for seed in range(3)]


@pytest.mark.parametrize("texts", [["recover=rollback:50"], ["skip=nonfinite", "skip=spike", "recover=rollback:50"]])
@pytest.mark.parametrize("poison", [lengthen, spoil])
def test_a_poisoned_training_is_saved(
    poison: Callable[[nn.Module], None], texts: list[str], healthy: list[float]
) -> None:
    assert not final_loss(texts[:-1], poison, 0) < 100 * max(healthy)
    # From step 200, with patience 209, back to 100; the step and the next 20 are left out.
    saved = final_loss(texts, poison, 0, count=400 + 130)
    assert min(healthy) / 1.2 < saved < 1.2 * max(healthy)


def test_it_gives_up_with_a_line_and_the_training_goes_on(capfd: Any) -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.SGD(model.parameters(), lr=0.1), model, ROLLBACK + ",limit=2")
    steps(optimizer, model, range(20), lambda step: spoil(model) if step >= 10 else None)
    lines = [line.partition("limit=2 ")[2] for line in capfd.readouterr().err.splitlines()]
    print(lines)
    assert [line[:36] for line in lines] == [
        "goes back from step 10 to weights an",
        "goes back from step 13 to weights an",
        "gives up at step 16: it has gone bac",
    ]


def test_steps_left_out_on_purpose_are_no_lost_training(capfd: Any) -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.SGD(model.parameters(), lr=0.1), model, "recover=rollback:5,skip=80")
    steps(optimizer, model, range(100), lambda step: spoil(model) if step == 7 else None)
    assert "all of the last" not in capfd.readouterr().err
    assert bool(torch.isfinite(model[0].weight).all())


def test_a_closure_is_followed(watched: Any) -> None:
    for session in (None, watched):
        model = small_model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        adapter.guard(session, optimizer, model, guarding([ROLLBACK, "warmup=4"]))
        train(optimizer, model, list(range(12)), closure=True)
        spoil(model)
        train(optimizer, model, [12], closure=True)
        assert bool(torch.isfinite(model[0].weight).all())
        assert float(optimizer.state[model[0].weight]["step"]) == 5


# Nothing is changed where nothing need be done.


@pytest.mark.parametrize("name", KINDS)
def test_a_healthy_training_is_the_same_to_the_bit(name: str) -> None:
    guarded, clean = with_buffers(), with_buffers()
    torch.manual_seed(1)
    optimizer = trimtab.guard(KINDS[name](guarded.parameters()), guarded, "recover=rollback:3", "recover=cut")
    steps(optimizer, guarded, range(20))
    torch.manual_seed(1)
    plain = KINDS[name](clean.parameters())
    steps(plain, clean, range(20))
    assert_same_training((guarded, optimizer), (clean, plain))


def test_the_optimizer_is_the_same_object_and_can_be_saved() -> None:
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    keys = set(vars(optimizer))
    assert trimtab.guard(optimizer, model, ROLLBACK, "recover=cut", "warmup=10") is optimizer
    steps(optimizer, model, range(8))
    assert set(vars(optimizer)) == keys
    assert optimizer.state_dict()["param_groups"][0]["lr"] == 1e-2
    assert same(pickle.loads(pickle.dumps(optimizer)).state_dict(), optimizer.state_dict())


# warmup and recover=cut

RATES: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.3, momentum=0.9),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.0123),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=0.0123, fused=True),
    "AdamW with a tensor": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.0123)),
}


def groups_of(model: nn.Module, rate: Any) -> list[dict[str, Any]]:
    weight, *others = model.parameters()
    return [{"params": [weight], "lr": rate * 0.5}, {"params": others}]


@pytest.mark.parametrize("through_watch", [False, True])
@pytest.mark.parametrize("name", RATES)
def test_a_warm_up_is_a_lambda_lr_to_the_bit(watched: Any, name: str, through_watch: bool) -> None:
    guarded, clean = small_model(), small_model()
    tensor = name.endswith("tensor")
    rate = torch.tensor(0.01) if tensor else 0.01
    optimizer = RATES[name](groups_of(guarded, rate))
    adapter.guard(watched if through_watch else None, optimizer, guarded, guarding(["warmup=7"]))
    plain = RATES[name](groups_of(clean, rate))
    scheduler = torch.optim.lr_scheduler.LambdaLR(plain, lambda k: min(1, (k + 1) / 7))
    before = [group["lr"] for group in optimizer.param_groups]
    steps(optimizer, guarded, range(12))
    assert all(group["lr"] is lr for group, lr in zip(optimizer.param_groups, before, strict=True))
    steps(plain, clean, range(12), lambda step: scheduler.step() if step else None)
    assert same(guarded.state_dict(), clean.state_dict())
    assert same(optimizer.state_dict()["state"], plain.state_dict()["state"])


def test_a_scheduler_sees_its_own_numbers() -> None:
    model, clean = small_model(), small_model()
    optimizer = trimtab.guard(torch.optim.SGD(model.parameters(), lr=1.0), model, "warmup=4")
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)  # it multiplies what it finds
    plain = torch.optim.SGD(clean.parameters(), lr=1.0)
    steps(optimizer, model, range(3), lambda step: scheduler.step() if step else None)
    assert optimizer.param_groups[0]["lr"] == 0.25

    def set_rate(step: int) -> None:
        plain.param_groups[0]["lr"] = 0.5**step * (step + 1) / 4

    steps(plain, clean, range(3), set_rate)
    assert same(model.state_dict(), clean.state_dict())


def test_a_step_that_raises_leaves_the_learning_rate_as_it_was() -> None:
    class Failing(torch.optim.SGD):
        raises = True

        def step(self, closure: Any = None) -> Any:
            if self.raises:
                raise RuntimeError("no")
            return super().step(closure)

    model = small_model()
    optimizer = trimtab.guard(Failing(model.parameters(), lr=0.5), model, "warmup=8")
    with pytest.raises(RuntimeError, match="no"):
        steps(optimizer, model, range(1))
    optimizer.raises = False
    steps(optimizer, model, range(1))
    assert optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("through_watch", [False, True])
def test_a_cut_shortens_the_spike_and_what_follows(watched: Any, through_watch: bool) -> None:
    model, clean = small_model(), small_model()
    optimizer, plain = (torch.optim.SGD(m.parameters(), lr=1e-6) for m in (model, clean))
    adapter.guard(watched if through_watch else None, optimizer, model, guarding(["recover=cut:0.5,steps=2"]))

    def train_on(opt: Any, net: nn.Module, rates: dict[int, float]) -> None:
        for step in range(24):
            opt.zero_grad()
            generator = torch.Generator().manual_seed(step)
            x, y = torch.randn(8, 6, generator=generator), torch.randint(3, (8,), generator=generator)
            (F.cross_entropy(net(x), y) * (1e5 if step == 20 else 1.0)).backward()
            opt.param_groups[0]["lr"] = 1e-6 * rates.get(step, 1.0)
            opt.step()

    train_on(optimizer, model, {})
    # The spike's step itself, one more, and the way back: 0.5, 0.75.
    train_on(plain, clean, {20: 0.5, 21: 0.5, 22: 0.5, 23: 0.75})
    assert same(model.state_dict(), clean.state_dict())


def test_policies_that_map_gradients_go_along() -> None:
    model, clean = small_model(), small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trimtab.guard(optimizer, model, ROLLBACK, "warmup=4", "clip=value:0.01")
    plain = torch.optim.SGD(clean.parameters(), lr=0.1)
    steps(optimizer, model, range(3))

    def clip(step: int) -> None:
        plain.param_groups[0]["lr"] = 0.1 * ((step + 1) / 4)

    plain.register_step_pre_hook(lambda *_: nn.utils.clip_grad_value_(clean.parameters(), 0.01) and None)
    steps(plain, clean, range(3), clip)
    assert same(model.state_dict(), clean.state_dict())
    spoil(model)
    steps(optimizer, model, range(3, 4))
    assert bool(torch.isfinite(model[0].weight).all())


# Scalers.


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_that_seeks_its_factor_is_no_trouble(fused: bool, capfd: Any) -> None:
    """Its first steps overflow one after the other."""
    model, clean = small_model(), small_model()
    for net, texts in ((model, [ROLLBACK]), (clean, [])):
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, fused=fused)
        if texts:
            trimtab.guard(optimizer, net, *texts)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, growth_interval=10**6)
        for step in range(12):
            x, y = batch()
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y) * (1e4 if step < 8 else 1.0) * (2.0**20 if step < 8 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert same(model.state_dict(), clean.state_dict())
    assert capfd.readouterr().err == ""


def scaled_step(model: nn.Module, optimizer: Any, scaler: Any, step: int) -> Any:
    """A step of a scaler; a copy of everything just before it."""
    x, y = batch()
    optimizer.zero_grad()
    scaler.scale(F.cross_entropy(model(x), (y + step) % 3)).backward()
    before = everything(model, optimizer)
    scaler.step(optimizer)
    scaler.update()
    return before


@pytest.mark.parametrize("fused", [False, True])
def test_under_a_scaler_the_weights_go_back(fused: bool) -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.AdamW(model.parameters(), lr=1e-3, fused=fused), model, ROLLBACK)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    copies = []
    for step in range(16):
        if step == 13:
            lengthen(model)
        copies.append(scaled_step(model, optimizer, scaler, step))
    assert same(everything(model, optimizer)[:2], copies[5][:2])
    assert scaler.get_scale() == 1024.0


def test_weights_that_a_scaler_would_withhold_steps_of_for_ever_go_back(watched: Any) -> None:
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    adapter.guard(watched, optimizer, model, guarding(["skip=nonfinite", ROLLBACK]))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    copies = []
    for step in range(20):
        if step == 12:
            spoil(model, math.nan)
        copies.append(scaled_step(model, optimizer, scaler, step))
        if step in (12, 13, 14):  # it goes back, and two are left out
            assert same(everything(model, optimizer)[:2], copies[5][:2])
    assert float(optimizer.state[model[0].weight]["step"]) == 5 + 5
    assert scaler.get_scale() == 512.0
    watched.finish()
    assert [row["step"] for row in watched.table("steps") if row["skipped"]] == [12, 13, 14]
    assert [(row["step"], row["back_to"]) for row in watched.table("guard") if row.get("back_to") is not None] == [
        (12, 5)
    ]


# What can't be.


def test_lbfgs_is_refused(watched: Any, capfd: Any) -> None:
    model = small_model()
    optimizer = torch.optim.LBFGS(model.parameters())
    for session in (None, watched):
        for text in ("warmup=10", "recover=cut", ROLLBACK):
            with pytest.raises(PolicyError, match=r"can't act on L-BFGS.*use another optimizer"):
                adapter.guard(session, optimizer, model, guarding(["skip=nonfinite", text]))
    assert capfd.readouterr().err == ""


# In the record.


def test_the_record_shows_what_was_done(watched: Any) -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    texts = ["skip=nonfinite", ROLLBACK, "warmup=4"]
    adapter.guard(watched, optimizer, model, guarding(texts))
    steps(optimizer, model, range(20), lambda step: spoil(model) if step == 12 else None)
    watched.finish()
    rows = watched.table("guard")
    assert [(r["step"], r["back_to"]) for r in rows if r.get("back_to") is not None] == [(12, 5)]
    assert [r["step"] for r in rows if r["skipped"] and r["policy"] == ROLLBACK] == [13, 14]
    assert [r["step"] for r in rows if r["skipped"] and r["policy"] == "skip=nonfinite"] == [12]
    warm = [(r["step"], r["lr_scale"], r.get("scale")) for r in rows if r["policy"] == "warmup=4"]
    assert warm == [(0, 0.25, None), (1, 0.5, None), (2, 0.75, None)]
    found = watched.table("steps")
    assert [r["lr"] for r in found] == pytest.approx([0.025, 0.05, 0.075] + [0.1] * 17)
    assert [r["step"] for r in found if r["skipped"]] == [12, 13, 14]
    updates = [r["update_norm"] for r in watched.table("tensors") if r.get("update_norm") is not None]
    assert all(math.isfinite(update) and update < 1.0 for update in updates)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "fused AdamW"])
def test_a_watched_recovery_does_what_one_alone_does(watched: Any, name: str) -> None:
    models = small_model(), small_model()
    recorded, alone = (KINDS[name](model.parameters()) for model in models)
    policy = guarding(["skip=nonfinite", "skip=spike", ROLLBACK, "recover=cut:0.5,steps=3", "warmup=6"])
    adapter.guard(watched, recorded, models[0], policy)
    adapter.guard(None, alone, models[1], policy)
    for optimizer, model in ((recorded, models[0]), (alone, models[1])):

        def poison(step: int, model: nn.Module = model) -> None:
            if step == 20:
                lengthen(model)
            if step == 45:
                spoil(model, math.nan)

        steps(optimizer, model, range(70), poison)
    assert_same_training((models[0], recorded), (models[1], alone))
    assert bool(torch.isfinite(models[0][0].weight).all())


# Several processes.


RANK = """
import math, sys
import torch
import torch.distributed as dist
import trimtab

rank, directory = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{directory}/meet", rank=rank, world_size=2)
torch.manual_seed(0)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(6, 3))
optimizer = trimtab.guard(torch.optim.AdamW(model.parameters(), lr=0.01), model, "recover=rollback:5,skip=2,patience=3")
for step in range(20):
    if step == 12 and rank == 1:  # the weights of one of them alone
        with torch.no_grad():
            model.module.weight[0, 0] = math.inf
    x, y = torch.randn(8, 6, generator=torch.Generator().manual_seed(10 * step + rank)), torch.arange(8) % 3
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()
count = optimizer.state[model.module.bias]["step"]
torch.save({"step": count, **model.module.state_dict()}, f"{directory}/rank{rank}.pt")
dist.destroy_process_group()
"""


def test_all_ranks_go_back_alike(tmp_path: Any) -> None:
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(rank), str(tmp_path)]) for rank in (0, 1)]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    ends = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    assert same(ends[0], ends[1])
    assert float(ends[0]["step"]) == 5 + 3  # back at step 14, two steps left out, three taken
    assert all(bool(torch.isfinite(value).all()) for value in ends[0].values())
