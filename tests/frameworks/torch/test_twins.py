"""Units that are copies of each other, and updates that rounding swallows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trimtab.frameworks.torch._twins import TwinFinder


def share(weight: torch.Tensor) -> float | None:
    return TwinFinder().share(weight, float(weight.double().norm()))


def obvious(weight: torch.Tensor) -> float:
    rows = weight.flatten(1)
    limit = 1e-6 * rows.double().square().mean().sqrt()
    twins = 0
    for i, row in enumerate(rows):
        off = (rows - row).abs().amax(1)
        off[i] = float("inf")
        twins += bool(off.min() <= limit)
    return twins / len(rows)


def some_twins(*shape: int) -> torch.Tensor:
    weight = torch.randn(shape)
    weight[1::4] = weight[0]
    weight[2] = weight[3]
    return weight


WEIGHTS = {
    "random": lambda: torch.randn(300, 64),
    "many units": lambda: torch.randn(4000, 16),
    "one input": lambda: torch.randn(64, 1),
    "constant": lambda: torch.full((65, 1000), 0.1),
    "zero": lambda: torch.zeros(8, 8),
    "identity": lambda: torch.eye(200),
    "half twins": lambda: some_twins(40, 30),
    "convolution": lambda: some_twins(16, 3, 5, 5),
    "one unit": lambda: torch.randn(1, 9),
    "long rows": lambda: some_twins(6, 300_000),
    "nearly twins": lambda: torch.ones(20, 50) + 1e-4 * torch.randn(20, 50),
    "not contiguous": lambda: some_twins(30, 12).T.contiguous().T,
    "shuffled rows": lambda: torch.stack([torch.arange(50.0)[torch.randperm(50)] for _ in range(60)]),
    "orthogonal": lambda: nn.init.orthogonal_(torch.empty(128, 128)),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_share_is_that_of_comparing_every_pair(name):
    torch.manual_seed(0)
    weight = WEIGHTS[name]()
    assert share(weight) == pytest.approx(obvious(weight))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_number_formats(dtype):
    weight = some_twins(40, 30).to(dtype)
    assert share(weight) == pytest.approx(obvious(weight))


def test_a_vector_has_no_units_and_a_lost_weight_no_twins():
    assert share(torch.ones(5)) is None
    assert share(torch.ones(2, (1 << 20) + 1)) is None
    assert share(torch.full((3, 3), float("nan"))) is None


def test_no_random_number_is_drawn():
    before = torch.get_rng_state()
    share(torch.ones(5, 5))
    assert torch.equal(torch.get_rng_state(), before)


def test_twins_in_a_training(watched):
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    nn.init.constant_(model[0].weight, 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(9, 5)).mean().backward()
    optimizer.step()
    watched.finish()
    twins = {row["tensor"]: row.get("twin_units") for row in watched.table("tensors")}
    assert twins == {"0.weight": 1.0, "0.bias": None, "2.weight": 0.0, "2.bias": None}


@pytest.mark.parametrize(("lr", "expected"), [(1e-5, 1.0), (1e-1, 0.0)])
def test_updates_lost_in_bfloat16(watched, lr, expected):
    model = nn.Linear(50, 20).bfloat16()
    nn.init.constant_(model.weight, 1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x = torch.ones(4, 50, dtype=torch.bfloat16)
    x[:, 30:] = 0.0  # weights without a gradient are not lost
    model(x).sum().backward()
    optimizer.step()
    watched.finish()
    assert watched.table("tensors")[0]["lost_updates"] == expected


def test_some_updates_lost(watched):
    model = nn.Linear(1000, 2000, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-10)
    before = model.weight.detach().clone()
    model(torch.randn(4, 1000)).square().sum().backward()
    optimizer.step()
    watched.finish()
    (row,) = watched.table("tensors")
    unchanged = (model.weight == before) & (model.weight.grad != 0)
    assert row["lost_updates"] == pytest.approx(unchanged.sum().item() / (model.weight.grad != 0).sum().item())
    assert 0.01 < row["lost_updates"] < 0.99
    assert row["update_norm"] == pytest.approx((model.weight.detach() - before).norm().item(), rel=1e-4)


def test_where_no_entry_has_a_gradient_nothing_is_lost(watched):
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (model(torch.zeros(3, 4)) * 0).sum().backward()
    optimizer.step()
    watched.finish()
    assert all("lost_updates" not in row for row in watched.table("tensors"))


def test_complex_weights_are_watched(watched):
    weight = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (weight @ torch.randn(3, dtype=torch.complex64)).abs().sum().backward()
        largest = weight.grad.abs().max().item()
        optimizer.step()
    watched.finish()
    rows = watched.table("tensors")
    assert rows[1]["grad_max"] == pytest.approx(largest)
    assert rows[1]["lost_updates"] == 0.0
    assert "twin_units" not in rows[1]


def test_a_complex_loss_is_no_loss_that_could_stop_a_training(watched):
    weight = nn.Parameter(torch.randn(3, dtype=torch.complex64))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    for _ in range(30):  # the first ones are sampled, and take another way
        optimizer.zero_grad()
        (weight * weight).sum().backward(torch.tensor(1.0 + 0j))
        optimizer.step()
    watched.finish()
    assert len(watched.table("steps")) == 30
