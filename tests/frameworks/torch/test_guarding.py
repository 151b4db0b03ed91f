"""Guarded PyTorch trainings: what is skipped leaves no trace, what is clipped is what torch would clip."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.frameworks.torch.test_steps import EAGER, batch, small_model
from torch import nn

import trimtab
from trimtab.frameworks import torch as adapter
from trimtab.frameworks.torch._guarding import Given, StepGuard, layout_of
from trimtab.policies import Decision, Policy, PolicyError, guarding

F = nn.functional
BAD = 3

KINDS: dict[str, Any] = {name: lambda p, kind=kind: kind(p, lr=1e-2) for name, kind in EAGER.items()}
KINDS |= {
    "SGD with momentum and decay": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, weight_decay=0.1),
    "fused SGD": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9, fused=True),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True),
    "foreach AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2, foreach=True),
    "capturable Adam": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
}


def train(
    optimizer: Any, model: nn.Module, batches: list[int], *, closure: bool = False, bad: int | None = None
) -> None:
    """One step per batch; the batch `bad` has a NaN in it."""
    for number in batches:
        x, y = batch()
        x = x + 0.1 * number
        if number == bad:
            x = x * math.nan

        def loss(x: torch.Tensor = x, y: torch.Tensor = y) -> torch.Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(model(x), y)
            value.backward()
            return value

        optimizer.step(loss) if closure else (loss(), optimizer.step())


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, through all containers."""
    if isinstance(a, torch.Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def assert_same_training(one: tuple[nn.Module, Any], other: tuple[nn.Module, Any]) -> None:
    assert same(one[0].state_dict(), other[0].state_dict())
    assert same(one[1].state_dict(), other[1].state_dict())


@pytest.mark.parametrize("closure", [False, True], ids=["step", "closure"])
@pytest.mark.parametrize("name", KINDS)
def test_a_skipped_step_leaves_no_trace(name: str, closure: bool) -> None:
    guarded, clean = small_model(), small_model()
    optimizer = trimtab.guard(KINDS[name](guarded.parameters()), guarded, "skip=nonfinite")
    train(optimizer, guarded, [0, 1, 2, BAD, 4, 5], closure=closure, bad=BAD)
    plain = KINDS[name](clean.parameters())
    train(plain, clean, [0, 1, 2, 4, 5], closure=closure)
    assert_same_training((guarded, optimizer), (clean, plain))


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_goes_back_to_where_the_step_began(line_search: str | None) -> None:
    def make(model: nn.Module) -> Any:
        return torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=5, line_search_fn=line_search)

    guarded, clean = small_model(), small_model()
    optimizer = trimtab.guard(make(guarded), guarded, "skip=nonfinite")
    train(optimizer, guarded, [0, 1, 2, BAD, 4], closure=True, bad=BAD)
    plain = make(clean)
    train(plain, clean, [0, 1, 2, 4], closure=True)
    assert_same_training((guarded, optimizer), (clean, plain))


def test_lbfgs_that_fails_within_its_step_goes_back_too() -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=5), model, "skip=nonfinite")
    train(optimizer, model, [0], closure=True)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    evaluations = 0

    def closure() -> torch.Tensor:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        x, y = batch()
        loss = F.cross_entropy(model(x * (math.nan if evaluations == 3 else 1.0)), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert evaluations >= 3
    assert same(before, (model.state_dict(), optimizer.state_dict()))


@pytest.mark.parametrize("name", KINDS)
def test_a_guard_that_does_not_act_changes_no_bit(name: str) -> None:
    guarded, clean = small_model(), small_model()
    policies = ("skip=nonfinite", "skip=spike", "clip=global:1e6")
    optimizer = trimtab.guard(KINDS[name](guarded.parameters()), guarded, *policies)
    train(optimizer, guarded, list(range(8)))
    plain = KINDS[name](clean.parameters())
    train(plain, clean, list(range(8)))
    assert_same_training((guarded, optimizer), (clean, plain))


def clipped_gradient(optimizer: Any, model: nn.Module) -> list[np.ndarray[Any, Any]]:
    """What SGD of rate 1 took from weights that are zero: the gradient that it got."""
    optimizer.step()
    return [-p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("fused", [False, True])
@given(seed=st.integers(0, 999), size=st.sampled_from([1e-3, 1.0, 1e4]), limit=st.sampled_from([1e-2, 0.5, 3.0]))
def test_clip_global_is_torchs_own_to_four_ulp(fused: bool, seed: int, size: float, limit: float) -> None:
    guarded, clean = small_model(), small_model()
    torch.manual_seed(seed)
    for p, q in zip(guarded.parameters(), clean.parameters(), strict=True):
        p.data.zero_(), q.data.zero_()
        p.grad = size * torch.randn_like(p)
        q.grad = p.grad.clone()
    optimizer = trimtab.guard(
        torch.optim.SGD(guarded.parameters(), lr=1.0, fused=fused), guarded, f"clip=global:{limit}"
    )
    got = clipped_gradient(optimizer, guarded)
    norm = nn.utils.clip_grad_norm_(clean.parameters(), limit)
    expected = clipped_gradient(torch.optim.SGD(clean.parameters(), lr=1.0), clean)
    for g, e in zip(got, expected, strict=True):
        if norm <= limit * (1 - 1e-5):
            assert np.array_equal(g, e)
        np.testing.assert_array_max_ulp(g, e, 4)


def test_clip_value_is_torchs_own() -> None:
    guarded, clean = small_model(), small_model()
    optimizer = trimtab.guard(torch.optim.AdamW(guarded.parameters(), lr=1e-2), guarded, "clip=value:0.01")
    plain = torch.optim.AdamW(clean.parameters(), lr=1e-2)
    train(optimizer, guarded, [0, 1])
    for number in (0, 1):
        x, y = batch()
        plain.zero_grad()
        F.cross_entropy(clean(x + 0.1 * number), y).backward()
        nn.utils.clip_grad_value_(clean.parameters(), 0.01)
        plain.step()
    assert_same_training((guarded, optimizer), (clean, plain))


@pytest.mark.parametrize(
    "text", ["clip=tensor:0.05", "clip=agc", "gradient=sign", "gradient=centralised", "clip=adagc:1.05,max_norm=0.1"]
)
def test_policies_of_one_scale_per_tensor_or_entry_act(text: str) -> None:
    guarded, clean = small_model(), small_model()
    optimizer = trimtab.guard(torch.optim.SGD(guarded.parameters(), lr=0.1), guarded, text)
    plain = torch.optim.SGD(clean.parameters(), lr=0.1)
    train(optimizer, guarded, [0, 1])
    train(plain, clean, [0, 1])
    assert not same(guarded.state_dict(), clean.state_dict())


# Scalers.


def scaled_training(
    fused: bool, *, guard: bool, bad: int | None = None, batches: range = range(8)
) -> tuple[nn.Module, Any, Any]:
    model = small_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused)
    if guard:
        trimtab.guard(optimizer, model, "skip=nonfinite", "clip=global:0.5")
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    for number in batches:
        x, y = batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x * (math.inf if number == bad else 1.0)), y)
        scaler.scale(loss).backward()
        if not guard:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
    return model, optimizer, scaler


@pytest.mark.parametrize("bad", [None, 4])
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_and_a_guard_agree(fused: bool, bad: int | None) -> None:
    model, optimizer, scaler = scaled_training(fused, guard=True, bad=bad)
    clean, plain, other = scaled_training(fused, guard=False, bad=bad)
    assert scaler.get_scale() == other.get_scale()
    for p, q in zip(model.parameters(), clean.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)
    for p, q in zip(optimizer.state.values(), plain.state.values(), strict=True):
        assert float(p["step"]) == float(q["step"]) == (8 if bad is None else 7)
    assert not hasattr(optimizer, "grad_scale")
    assert not hasattr(optimizer, "found_inf")


# What a guarded optimizer is.


def test_a_guarded_optimizer_is_the_same_object_with_the_same_state() -> None:
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters())
    keys = set(vars(optimizer))
    assert trimtab.guard(optimizer, model) is optimizer
    assert set(vars(optimizer)) == keys
    train(optimizer, model, [0, 1])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    train(optimizer, model, [2])
    scheduler.step()
    assert pickle.loads(pickle.dumps(optimizer)).state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    assert same(copy.deepcopy(optimizer).state_dict(), optimizer.state_dict())


def test_guarding_again_replaces_the_policies() -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trimtab.guard(optimizer, model, "clip=global:1e-6")
    trimtab.guard(optimizer, model, "clip=global:1e6")
    clean = small_model()
    train(optimizer, model, [0])
    train(torch.optim.SGD(clean.parameters(), lr=1.0), clean, [0])
    assert same(model.state_dict(), clean.state_dict())


def test_each_optimizer_is_guarded_by_itself() -> None:
    one, two = small_model(), small_model()
    clean = small_model()
    first = trimtab.guard(torch.optim.SGD(one.parameters(), lr=0.1), one, "skip=nonfinite")
    second = torch.optim.SGD(two.parameters(), lr=0.1)
    train(first, one, [0, 1], bad=1)
    train(second, two, [0, 1], bad=1)
    train(torch.optim.SGD(clean.parameters(), lr=0.1), clean, [0])
    assert same(one.state_dict(), clean.state_dict())
    assert not all(bool(torch.isfinite(p).all()) for p in two.parameters())


def test_sparse_gradients_are_clipped_and_skipped() -> None:
    table = nn.Embedding(10, 4, sparse=True)
    clean = copy.deepcopy(table)
    optimizer = trimtab.guard(torch.optim.SGD(table.parameters(), lr=1.0), table, "skip=nonfinite", "clip=global:0.5")
    for factor in (100.0, math.nan):
        optimizer.zero_grad()
        (factor * table(torch.tensor([1, 1, 3]))).sum().backward()
        optimizer.step()
    moved = table.weight.detach() - clean.weight.detach()
    assert float(moved.norm()) == pytest.approx(0.5, rel=1e-5)
    assert sorted(set(moved.nonzero()[:, 0].tolist())) == [1, 3]


def test_parameters_without_a_gradient_stay_without() -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.Adam(model.parameters()), model, "clip=adagc", "skip=nonfinite")
    before = copy.deepcopy(model.state_dict())
    for factor in (1.0, 2.0, math.nan):
        optimizer.zero_grad()
        model[2].bias.grad = torch.full((3,), factor)
        optimizer.step()
    after = model.state_dict()
    assert same({k: v for k, v in before.items() if k != "2.bias"}, {k: v for k, v in after.items() if k != "2.bias"})
    assert float(optimizer.state[model[2].bias]["step"]) == 2


def test_gradients_are_back_after_a_skip_and_after_an_exception() -> None:
    model = small_model()

    class Failing(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise RuntimeError("no")

    for kind, raises in ((torch.optim.SGD, False), (Failing, True)):
        optimizer = trimtab.guard(kind(model.parameters(), lr=0.1), model, "skip=nonfinite")
        grads = [torch.full_like(p, math.nan) for p in model.parameters()]
        for p, grad in zip(model.parameters(), grads, strict=True):
            p.grad = grad
        if raises:
            with pytest.raises(RuntimeError, match="no"):
                optimizer.step()
            optimizer.zero_grad()
            with pytest.raises(RuntimeError, match="no"):
                optimizer.step()
        else:
            optimizer.step()
            assert all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))


class Interrupted(torch.optim.SGD):
    """Its step ends in an exception as often as it is told."""

    times = 1

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        if self.times:
            self.times -= 1
            raise KeyboardInterrupt
        return super().step(closure)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("through_watch", [False, True])
def test_a_step_that_ended_in_an_exception_leaves_nothing_behind(
    watched: Any, through_watch: bool, fused: bool
) -> None:
    model, clean = small_model(), small_model()
    optimizer = Interrupted(model.parameters(), lr=0.1, fused=fused)
    adapter.guard(watched if through_watch else None, optimizer, model, guarding(["skip=nonfinite", "clip=global:0.1"]))
    for first in (math.nan, 100.0):  # hidden gradients, a clip under way
        optimizer.times = 1
        for p in model.parameters():
            p.grad = torch.full_like(p, first)
        with pytest.raises(KeyboardInterrupt):
            optimizer.step()
        before = copy.deepcopy(model.state_dict())
        clean.load_state_dict(before)
        for p, q in zip(model.parameters(), clean.parameters(), strict=True):
            p.grad, q.grad = torch.full_like(p, 1e-3), torch.full_like(q, 1e-3)
        optimizer.step()
        torch.optim.SGD(clean.parameters(), lr=0.1, fused=fused).step()
        assert same(model.state_dict(), clean.state_dict())
        assert all(float(p.grad.max()) == pytest.approx(1e-3) for p in model.parameters())
    assert not hasattr(optimizer, "grad_scale")


# What goes wrong.


@pytest.mark.parametrize(
    "text", ["clip=global:0", "clip=global:-1", "clip=global:nan", "clip=value", "skip=nan", "clip=global:x"]
)
def test_a_policy_that_cannot_be_is_refused_at_once(text: str) -> None:
    model = small_model()
    with pytest.raises(PolicyError):
        trimtab.guard(torch.optim.SGD(model.parameters(), lr=0.1), model, text)


def test_what_is_no_optimizer_is_refused() -> None:
    with pytest.raises(trimtab.TrimtabError, match=r"torch\.optim"):
        trimtab.guard("adam")


def failing(after: int) -> Policy:
    calls = 0

    def decide(state: Any, vitals: Any, xp: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after:
            raise ArithmeticError("of ours")
        return state, Decision(np.bool_(False))

    return Policy("skip=broken", decide)


def test_a_policy_that_fails_leaves_the_training_unguarded_and_says_so_once(capfd: Any) -> None:
    model, clean = small_model(), small_model()
    optimizer = trimtab.guard(torch.optim.SGD(model.parameters(), lr=0.1), model, failing(after=2))
    train(optimizer, model, [0, 1, 2, 3])
    train(torch.optim.SGD(clean.parameters(), lr=0.1), clean, [0, 1, 2, 3])
    assert same(model.state_dict(), clean.state_dict())
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["trimtab: guard: ArithmeticError: of ours; the training goes on unguarded"]


def test_a_lost_training_is_said_to_be_lost(capfd: Any) -> None:
    model = small_model()
    optimizer = trimtab.guard(torch.optim.SGD(model.parameters(), lr=0.1), model)
    train(optimizer, model, [0])
    model[0].weight.data.fill_(math.nan)
    train(optimizer, model, [0] * 60)
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "skip=nonfinite leaves out step 1 " in lines[0]
    assert "all of the last 50 steps were left out: weights are not finite" in lines[1]


# Where the decision is made.


@pytest.mark.parametrize(
    "texts",
    [("clip=global:0.7",), ("clip=tensor:0.3",), ("skip=spike:4", "clip=zclip"), ("clip=autoclip",), ("clip=adagc",)],
    ids=" ".join,
)
def test_device_and_host_decide_alike(texts: tuple[str, ...]) -> None:
    """As on a GPU, where the norms stay, but on a device that is here."""
    models = [small_model() for _ in range(2)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    guards = [
        StepGuard(guarding(texts), optimizer, layout_of(optimizer, [model]), on_device=on_device)
        for optimizer, model, on_device in zip(optimizers, models, (False, True), strict=True)
    ]
    for step in range(40):
        torch.manual_seed(step)
        grads = [torch.randn_like(p) * (300.0 if step == 30 else 1.0) for p in models[0].parameters()]
        for model, optimizer, guard in zip(models, optimizers, guards, strict=True):
            parameters = list(model.parameters())
            for p, grad in zip(parameters, grads, strict=True):
                p.grad = grad.clone()
            mine = [p.grad for p in parameters]
            norms = np.array([float(grad.norm()) for grad in grads])
            guard.act(optimizer, step, Given(parameters, mine, None, norms))
            optimizer.step()
            guard.restore(optimizer)
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


# In the record.


def test_the_record_shows_what_the_policies_did(watched: Any) -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    adapter.guard(watched, optimizer, model, guarding(["skip=nonfinite", "clip=global:0.1"]))
    raw: list[float] = []
    for number in range(6):
        x, y = batch()
        optimizer.zero_grad()
        F.cross_entropy(model(x * (math.nan if number == BAD else 1.0)), y).backward()
        raw.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters())))
        optimizer.step()
    watched.finish()
    steps = watched.table("steps")
    assert [row["skipped"] for row in steps] == [number == BAD for number in range(6)]
    for row, norm in zip(steps, raw, strict=True):
        if row["step"] != BAD:
            assert row["grad_norm_raw"] == pytest.approx(norm, rel=1e-5)
            assert row["grad_norm"] == pytest.approx(0.1, rel=1e-4)
    acts = watched.table("guard")
    assert [(row["step"], row["policy"]) for row in acts if row["skipped"]] == [(BAD, "skip=nonfinite")]
    clips = {row["step"]: row["scale"] for row in acts if row["policy"] == "clip=global:0.1"}
    assert sorted(clips) == [0, 1, 2, 4, 5]
    assert clips[0] == pytest.approx(0.1 / raw[0], rel=1e-4)


def test_a_spike_is_seen_through_the_scripts_own_clip(watched: Any) -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    adapter.guard(watched, optimizer, model, guarding(["skip=spike"]))
    for number in range(12):
        x, y = batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) * (1e4 if number == 9 else 1.0)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    watched.finish()
    assert [row["step"] for row in watched.table("steps") if row["skipped"]] == [9]


@pytest.mark.parametrize("text", ["clip=global:0.1", "clip=tensor:0.05", "clip=value:0.01"])
@pytest.mark.parametrize("fused", [False, True])
def test_a_watched_guard_does_what_one_alone_does(watched: Any, fused: bool, text: str) -> None:
    models = small_model(), small_model()
    recorded, alone = (torch.optim.AdamW(model.parameters(), lr=1e-2, fused=fused) for model in models)
    policy = guarding(["skip=nonfinite", text])
    adapter.guard(watched, recorded, models[0], policy)
    adapter.guard(None, alone, models[1], policy)
    for optimizer, model in ((recorded, models[0]), (alone, models[1])):
        train(optimizer, model, list(range(40)), bad=20)
    watched.finish()
    assert_same_training((models[0], recorded), (models[1], alone))
    assert not hasattr(recorded, "grad_scale")
    rows = [row for row in watched.table("guard") if row["optimizer"] == 0]
    assert [row["step"] for row in rows if row["skipped"]] == [20]
    assert [row["step"] for row in rows if row["policy"] == text] == [n for n in range(40) if n != 20]
    steps = [row for row in watched.table("steps") if row["optimizer"] == 0]
    assert [row["step"] for row in steps] == list(range(40))
    assert all(row["grad_norm"] < row["grad_norm_raw"] for row in steps if row["step"] != 20)
