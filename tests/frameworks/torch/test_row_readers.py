"""Rows of training found again in validation: who calls `eval()` and looks at them without gradients is seen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.frameworks._kept import KeptSession
from torch import Tensor, nn
from torch.nn.modules import module as module_file


def train(x: Tensor, x_val: Tensor, net: nn.Module | None = None, epochs: int = 3) -> nn.Module:
    """Batches of 64 rows in order, a validation of one batch after each epoch."""
    net = net or nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        net.train()
        for batch in x.split(64):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(batch)[..., 0], torch.ones(len(batch))).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            nn.functional.mse_loss(net(x_val)[..., 0], torch.ones(len(x_val)))
    optimizer.zero_grad()
    return net


def told(session: KeptSession) -> dict[str, Any]:
    """The last event of each name; the last validation is over once the process ends."""
    session.finish()
    return {data["name"]: data for kind, data in session.events if kind == "validation_rows"}


def test_a_validation_on_rows_of_training(watched):
    x = torch.randn(64, 5)
    train(x, x[:40])
    assert told(watched)["val_loss"] | {"again": 0} == {
        "name": "val_loss", "trained_on": 40, "compared": 40, "trained": 64, "again": 0
    }  # fmt: skip


def test_other_rows_are_not_told_of(watched):
    train(torch.randn(64, 5), torch.randn(40, 5))
    assert told(watched) == {}


def test_some_of_both(watched):
    x = torch.randn(64, 5)
    train(x, torch.cat([x[:10], torch.randn(30, 5)]))
    assert (told(watched)["val_loss"]["trained_on"], told(watched)["val_loss"]["compared"]) == (10, 40)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_any_kind_of_numbers(watched, dtype):
    class Cast(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.float())

    x = torch.randn(64, 5).to(dtype)
    train(x, x[:40], Cast(5, 1))
    assert told(watched)["val_loss"]["trained_on"] == 40


def test_a_graph_whose_nodes_are_all_given_and_some_are_judged(watched):
    """Every node goes into each pass, and the loss is taken of those that are held out: no leak."""
    x, net = torch.randn(64, 5), nn.Linear(5, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    for _ in range(4):
        net.train()
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x)[:40, 0], torch.ones(40)).backward()
        optimizer.step()
        net.eval()
        with torch.no_grad():
            nn.functional.mse_loss(net(x)[40:, 0], torch.ones(24))
    assert told(watched) == {}


def test_the_hook_is_gone_after_the_first_call(watched):
    x = torch.randn(64, 5)
    net = train(x, x, epochs=1)
    net.eval()
    before = len(module_file._global_forward_pre_hooks)
    assert before == 1
    net(x)
    assert len(module_file._global_forward_pre_hooks) == 0
