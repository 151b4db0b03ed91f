"""Inputs and outputs of modules at sampled steps: spread, dead features, saturation, and what they have passed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trimtab.frameworks.torch._scale import measure, thin

F = nn.functional


def step(model: nn.Module, *inputs: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model(*inputs).square().mean().backward()
    optimizer.step()


def spread(x: torch.Tensor, axis: int) -> float:
    features = x.double().movedim(axis, 0).flatten(1)
    return features.var(1, correction=0).mean().sqrt().item()


def dead(x: torch.Tensor, axis: int) -> float:
    features = x.movedim(axis, 0).flatten(1)
    return sum(bool((feature == 0).all()) for feature in features) / len(features)


def by_module(watched) -> dict[str, dict]:
    watched.finish()
    return {row["module"]: row for row in watched.table("modules")}


def test_of_a_perceptron(watched):
    model = nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 4))
    with torch.no_grad():
        model[0].bias[:3] = -100.0
    x = torch.randn(32, 5)
    h = model[1](model[0](x)).detach()
    y = model[2](h).detach()
    step(model, x)
    rows = by_module(watched)
    assert rows["0"]["in_after"] is None
    assert rows["0"]["in_spread"] == pytest.approx(spread(x, 1), rel=1e-5)
    assert rows["2"]["in_after"] == "relu"
    assert rows["2"]["in_dead"] == rows["1"]["out_dead"] == dead(h, 1) == 0.25
    assert rows["2"]["in_spread"] == rows["1"]["out_spread"] == pytest.approx(spread(h, 1), rel=1e-5)
    assert rows["2"]["in_rms"] == pytest.approx(h.square().mean().sqrt().item(), rel=1e-5)
    assert rows["2"]["in_max"] == pytest.approx(h.max().item())
    assert rows["2"]["out_spread"] == pytest.approx(spread(y, 1), rel=1e-5)
    assert rows["2"]["out_max"] == pytest.approx(y.abs().max().item())
    assert "in_saturated" not in rows["2"]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.dropout(F.relu(self.conv(x)), 0.1).flatten(1)
        return self.head(torch.tanh(self.fc(h)))


def test_of_functional_activations(watched):
    model = Functional()
    with torch.no_grad():
        model.fc.weight.mul_(30)
        model.conv.bias[0] = -100.0
    x = torch.randn(16, 3, 8, 8)
    conv = model.conv(x).detach()
    seen = {}
    handle = model.head.register_forward_pre_hook(lambda module, inputs: seen.update(head=inputs[0].detach().clone()))
    step(model, x)
    handle.remove()
    rows = by_module(watched)
    assert [rows[name]["in_after"] for name in ("conv", "fc", "head")] == [None, "relu", "tanh"]
    assert rows["conv"]["in_spread"] == pytest.approx(spread(x, 1), rel=1e-5)
    assert rows["conv"]["out_spread"] == pytest.approx(spread(conv, 1), rel=1e-5)
    assert rows["fc"]["in_dead"] >= 36 / (8 * 36)
    slopes = 1 - seen["head"].square()
    assert rows["head"]["in_saturated"] == pytest.approx((slopes < 0.1).float().mean().item())
    assert rows["head"]["in_saturated"] > 0.5


def test_of_layers_that_no_activation_parts(watched):
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 8), nn.Linear(8, 2))
    step(model, torch.randn(16, 5))
    rows = by_module(watched)
    assert [rows[name]["in_after"] for name in ("0", "3", "4")] == [None, "none", "none"]


def test_in_place_activations_are_seen_and_do_not_lend_their_numbers(watched):
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    x = torch.randn(16, 5)
    h = torch.relu(model[0](x)).detach()
    step(model, x)
    rows = by_module(watched)
    assert rows["2"]["in_after"] == "relu"
    assert rows["2"]["in_spread"] == pytest.approx(spread(h, 1), rel=1e-5)
    assert rows["2"]["in_rms"] == pytest.approx(h.square().mean().sqrt().item(), rel=1e-5)


def test_equal_rows_have_no_spread_and_one_row_has_none_to_tell(watched):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.many, self.one = nn.Linear(7, 3), nn.Linear(7, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.many(x).sum() + self.one(x[:1]).sum()

    step(Twice(), torch.randn(1, 7).expand(33, 7).contiguous())
    rows = by_module(watched)
    assert rows["many"]["in_spread"] == 0.0
    assert rows["many"]["out_spread"] == pytest.approx(0.0, abs=1e-6)
    assert not {"in_spread", "out_spread", "in_dead", "out_dead"} & rows["one"].keys()


@pytest.mark.parametrize(("shape", "axis"), [((600, 40, 30), 2), ((9, 16, 70, 71), 1), ((300_000, 3), 1), ((4, 7), 0)])
def test_a_thinned_spread_is_close_and_a_dead_feature_is_never_overlooked(shape, axis):
    torch.manual_seed(0)
    x = torch.randn(shape)
    x.select(axis, 1).zero_()
    numbers = measure(x, axis)
    assert numbers["spread"].item() == pytest.approx(spread(x, axis), rel=0.02)
    assert numbers["dead"].item() == pytest.approx(dead(x, axis))
    assert numbers["max"].item() == x.abs().max().item()
    one = x.clone()
    one.select(axis, 1)[(0,) * (x.dim() - 1)] = 1e-30
    assert measure(one, axis)["dead"].item() == pytest.approx(dead(one, axis))


@pytest.mark.parametrize("shape", [(2, 64, 512, 512), (100_000, 512), (1, 8, 3_000_000), (50, 20, 1000, 30)])
def test_thinning_keeps_every_feature_and_few_entries(shape):
    few = torch.empty(shape, device="meta")[thin(torch.Size(shape), 1, 1 << 18)]
    assert few.shape[1] == shape[1]
    assert few.numel() <= 1 << 18
    assert few.numel() >= 1 << 14


def test_a_nan_in_an_activation_is_a_nan_of_the_record(watched):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    x = torch.randn(8, 4)
    x[3, 1] = float("nan")
    step(model, x)
    rows = by_module(watched)
    assert rows["0"]["in_max"] != rows["0"]["in_max"]
    assert rows["1"]["out_rms"] != rows["1"]["out_rms"]
    assert rows["0"]["in_dead"] == 0.0


def test_half_precision_and_a_transformer_are_measured(watched):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(20, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
            self.head = nn.Linear(16, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.embed(tokens)))

    model = Model()
    with torch.autocast("cpu", torch.bfloat16):
        step(model, torch.randint(0, 20, (4, 6)))
    rows = by_module(watched)
    assert rows["layer.linear2"]["in_after"] == "relu"
    assert rows["layer.linear1"]["in_after"] == "none"
    assert 0 < rows["layer.linear2"]["in_spread"] < 10
