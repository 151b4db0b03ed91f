"""What is told of an optimizer's models when it is first seen."""

from __future__ import annotations

import torch
from torch import nn


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(3, 4)).sum().backward()
    optimizer.step()


def info(watched) -> list[dict]:
    return watched.facts["optimizers"]


def test_modules_dropout_and_what_is_trainable(watched):
    model = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Dropout1d(0.1)
    )
    model[4].eval()
    model[0].bias.requires_grad_(False)
    step(model, torch.optim.SGD(model.parameters(), lr=0.1))
    (facts,) = info(watched)
    assert facts["modules"] == {"Linear": 2, "ReLU": 2, "Dropout": 1, "Dropout1d": 1}
    assert facts["dropout"] == [0.3]
    assert {t["name"]: t["trainable"] for t in facts["tensors"]} == {
        "0.weight": True,
        "0.bias": False,
        "3.0.weight": True,
        "3.0.bias": True,
    }
    assert facts["untrained"] == []


def test_parameters_in_no_optimizer(watched):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model[0].bias.requires_grad_(False)
    step(model, torch.optim.SGD(model[2].parameters(), lr=0.1))
    assert info(watched)[0]["untrained"] == ["0.weight"]


def test_another_optimizer_has_them_though_it_has_not_stepped_yet(watched):
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    first = torch.optim.SGD([p for p in model.parameters() if p.dim() == 2], lr=0.1)
    second = torch.optim.AdamW([p for p in model.parameters() if p.dim() < 2], lr=0.1)
    step(model, first)
    assert [facts["untrained"] for facts in info(watched)] == [[]]
    step(model, second)
    assert [facts["untrained"] for facts in info(watched)] == [[], []]


def test_an_optimizer_made_later_has_them_from_then_on(watched):
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2))
    step(model, torch.optim.SGD(model[2].parameters(), lr=0.1))
    assert info(watched)[0]["untrained"] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    step(model, torch.optim.SGD(model[1].parameters(), lr=0.1))
    assert [facts["untrained"] for facts in info(watched)] == [["0.weight", "0.bias"]] * 2


def test_two_models_of_a_game(watched):
    game = nn.ModuleDict({"generator": nn.Linear(4, 4), "critic": nn.Linear(4, 1)})
    optimizers = [torch.optim.Adam(part.parameters(), lr=0.1) for part in game.values()]
    for optimizer in optimizers:
        optimizer.zero_grad()
        game["critic"](game["generator"](torch.randn(3, 4))).mean().backward()
        optimizer.step()
    assert [facts["untrained"] for facts in info(watched)] == [[], []]


def test_a_group_added_later_is_untrained_no_more(watched):
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    step(model, optimizer)
    assert info(watched)[0]["untrained"] == ["0.weight", "0.bias"]
    optimizer.add_param_group({"params": list(model[0].parameters())})
    step(model, optimizer)
    assert info(watched)[0]["untrained"] == []
    assert len(info(watched)[0]["tensors"]) == 4


def test_tied_weights_are_trained_under_both_names(watched):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    step(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert info(watched)[0]["untrained"] == []
