"""What is measured at sampled steps, against a slow and obvious reckoning."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy  # imported by name, as scripts do

from trimtab.frameworks.torch._graph import first_nonfinite

F = nn.functional


def rms(x: torch.Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def test_step_zero_is_sampled_in_full(watched):
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = torch.randn(8, 6), torch.arange(8) % 3
    hidden = model[0](x).detach()
    out = model(x)
    out.retain_grad()
    loss = cross_entropy(out, y)
    loss.backward()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    watched.finish()
    tensors = watched.table("tensors")
    for row, p, old in zip(tensors, model.parameters(), before, strict=True):
        assert row["weight_norm"] == pytest.approx(old.norm().item(), rel=1e-5)
        assert row["update_norm"] == pytest.approx((p.detach() - old).norm().item(), rel=1e-4)
        assert row["grad_max"] == pytest.approx(p.grad.abs().max().item())
        assert row["g2_over_v"] == pytest.approx(1.0, rel=1e-4)  # at the first step v_hat is g^2
    modules = [row for row in watched.table("modules") if row["call"] > 0]
    first, _, last = sorted(modules, key=lambda row: row["call"])[:3]
    assert first["out_rms"] == pytest.approx(rms(hidden), rel=1e-5)
    last = next(row for row in modules if row["module"] == "2")
    assert last["grad_rms"] == pytest.approx(rms(out.grad), rel=1e-5)
    assert last["weighted"]


def test_the_loss_and_its_chance_level(watched):
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    y = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    cross_entropy(model(torch.randn(100, 4)), y).backward()
    optimizer.step()
    watched.finish()
    (row,) = watched.table("losses")
    true = -sum(p * math.log(p) for p in (0.6, 0.3, 0.1))
    assert row["kind"] == "cross_entropy"
    assert row["classes"] == 3
    assert row["rows"] == 100
    assert row["chance"] == pytest.approx(true, rel=0.02)
    assert (row["target_min"], row["target_max"]) == (0, 2)
    assert row["rows_sum_to_one"] == 0
    assert row["output_spread"] > 0


@pytest.mark.parametrize(
    ("loss", "kind", "chance"),
    [
        (nn.MSELoss(), "mse", 4.0),
        (nn.L1Loss(), "l1", None),
        (nn.SmoothL1Loss(), "smooth_l1", None),
        (nn.HuberLoss(), "huber", None),
        (lambda out, y: F.binary_cross_entropy_with_logits(out, (y > 0).float()), "bce_logits", math.log(2)),
        (lambda out, y: F.binary_cross_entropy(torch.sigmoid(out), (y > 0).float()), "bce", math.log(2)),
        (lambda out, y: ((out - y) ** 2).mean(), "unknown", None),
    ],
)
def test_kinds_of_loss(watched, loss, kind, chance):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    y = torch.cat([torch.full((50, 1), 3.0), torch.full((50, 1), -1.0)])
    loss(model(torch.randn(100, 4)), y).backward()
    optimizer.step()
    watched.finish()
    (row,) = watched.table("losses")
    assert row["kind"] == kind
    if chance is not None:
        assert row["chance"] == pytest.approx(chance, rel=1e-6)


def test_probabilities_where_logits_are_expected(watched):
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cross_entropy(model(torch.randn(9, 4)), torch.arange(9) % 3).backward()
    optimizer.step()
    watched.finish()
    assert watched.table("losses")[0]["rows_sum_to_one"] == 1.0


def test_a_missing_zero_grad_shows_as_a_gradient_left_over(watched):
    def train(clears: bool) -> None:
        model = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            if clears:
                optimizer.zero_grad(set_to_none=False)
            cross_entropy(model(torch.randn(9, 4)), torch.arange(9) % 3).backward()
            optimizer.step()

    train(clears=True)
    train(clears=False)
    watched.finish()
    second = {row["optimizer"]: row["leftover_grad_norm"] for row in watched.table("losses") if row["step"] == 1}
    assert second[0] == 0.0
    assert second[1] > 0.0


def test_validation_passes_are_logged_at_the_step_before_them_and_named_by_line(watched):
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = [(torch.randn(n, 4), torch.arange(n) % 3) for n in (6, 3)]

    def mean_loss() -> float:
        model.eval()
        with torch.no_grad():
            losses = [cross_entropy(model(x), y).item() * len(x) for x, y in parts]
        model.train()
        return sum(losses) / 9

    def train() -> None:
        cross_entropy(model(parts[0][0]), parts[0][1]).backward()
        optimizer.step()
        with torch.no_grad():  # in training mode: no validation
            cross_entropy(model(parts[0][0]), parts[0][1])

    expected = []
    for _ in range(2):
        train()
        expected.append(mean_loss())
        train()
    test = mean_loss()
    watched.finish()
    assert [(m["name"], m["step"]) for m in watched.metrics] == [("val_loss", 0), ("val_loss", 2), ("val_loss_2", 3)]
    assert [m["value"] for m in watched.metrics] == pytest.approx([*expected, test])


def test_recomputation_and_evaluation_are_not_taken_for_forward_passes(watched):
    from torch.utils.checkpoint import checkpoint

    block, head = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2)
    optimizer = torch.optim.SGD([*block.parameters(), *head.parameters()], lr=0.1)
    with torch.no_grad():
        head(block(torch.randn(3, 4)))
    head(checkpoint(block, torch.randn(3, 4), use_reentrant=False)).sum().backward()
    optimizer.step()
    watched.finish()
    assert [row["kind"] for row in sorted(watched.table("modules"), key=lambda r: r["call"])] == [
        "Linear",
        "ReLU",
        "Linear",
    ]


def test_in_place_activations_and_saturated_shares(watched):
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 1))
    with torch.no_grad():
        model[2].weight.mul_(1000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(16, 4)).sum().backward()
    optimizer.step()
    watched.finish()
    rows = {row["module"]: row for row in watched.table("modules")}
    assert len(rows) == 5
    assert 0 < rows["1"]["out_zeros"] < 1
    assert rows["3"]["out_saturated"] > 0.9
    assert all(row["grad_rms"] > 0 for row in rows.values())


CULPRITS: list[tuple[str, Any, str, str]] = [
    ("log", lambda h: torch.log(h - h), "log", "log of a value that is not positive"),
    ("division", lambda h: h / (h - h), "div", "division by zero"),
    ("exp", lambda h: torch.exp(h.abs() * 1e6), "exp", "exp beyond the range of its number format"),
]


@pytest.mark.parametrize(("name", "op", "expected", "what"), CULPRITS)
def test_the_operation_where_a_loss_is_lost_is_named(watched, name, op, expected, what):
    first, last = nn.Linear(4, 4), nn.Linear(4, 1)
    model = nn.ModuleDict({"first": first, "last": last})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(20):
        h = first(torch.randn(8, 4))
        last(op(h) if step == 15 else h).mean().backward()
        optimizer.step()
        if step == 15:
            break
    watched.finish()
    (event,) = [data for kind, data in watched.events if kind == "nonfinite"]
    assert event["loss_finite"] is False
    assert event["weights_nonfinite"] == []
    assert event["forward"]["op"] == expected
    assert event["forward"]["what"] == what
    assert event["forward"]["tensor"] in ("first.weight", "first.bias")


def test_a_square_root_at_zero_is_found_though_the_loss_is_finite(watched):
    model = nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.sqrt(model(torch.zeros(8, 4))).sum().backward()
    optimizer.step()
    watched.finish()
    (event,) = [data for kind, data in watched.events if kind == "nonfinite"]
    assert event["loss_finite"] is True
    assert event["forward"]["op"] == "sqrt"


def test_the_black_box_holds_the_weights_of_a_stated_age(watched, tmp_path):
    from safetensors.torch import load_file

    model = nn.Linear(4, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    history = []
    for step in range(5):
        history.append(model.weight.detach().clone())
        optimizer.zero_grad()
        (model(torch.ones(2, 4)).mean() * (math.nan if step == 4 else 1.0)).backward()
        optimizer.step()
    watched.finish()
    (snapshot,) = [data for kind, data in watched.events if kind == "snapshot"]
    saved = load_file(tmp_path / "blackbox" / "weights.safetensors")
    assert torch.equal(saved["weight"], history[4 - snapshot["age_steps"]])


@pytest.mark.parametrize("lr", [1e3, 1e6])
def test_a_loss_that_blows_up_and_stays_finite_leaves_a_black_box(watched, tmp_path, lr):
    from safetensors.torch import load_file

    model = nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    history = []
    for _ in range(4):
        history.append(model.weight.detach().clone())
        optimizer.zero_grad()
        F.mse_loss(model(torch.ones(2, 4)), torch.ones(2, 1)).backward()
        optimizer.step()
    watched.finish()
    losses = [row["loss"] for row in watched.table("steps")]
    first = next(step for step, loss in enumerate(losses) if loss > 1000 * losses[0])
    (snapshot,) = [data for kind, data in watched.events if kind == "snapshot"]
    saved = load_file(tmp_path / "blackbox" / "weights.safetensors")
    assert torch.equal(saved["weight"], history[first - snapshot["age_steps"]])


def test_a_script_module_and_a_traced_one_still_compile(watched):
    class Model(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(x, y)

    x, y = torch.randn(4, 3), torch.arange(4) % 3
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(Model())
        traced = torch.jit.trace(nn.Linear(3, 2), x)
    assert torch.equal(scripted(x, y), nn.functional.cross_entropy(x, y))
    assert traced(x).shape == (4, 2)


def test_a_compiled_model_is_not_broken_into_pieces(watched):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return nn.functional.cross_entropy(self.layer(x), y)

    model = torch.compile(Model(), backend="eager", fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.randn(4, 3), torch.arange(4) % 3).backward()
        optimizer.step()
    watched.finish()
    assert [row["step"] for row in watched.table("steps")] == [0, 1, 2]
    assert {row["tensor"] for row in watched.table("tensors")} == {"layer.weight", "layer.bias"}
    assert [data["what"] for kind, data in watched.events if kind == "unseen"] == ["module outputs"]


def test_per_example_gradients_by_functorch(watched):
    from torch.func import functional_call, grad, vmap

    model = nn.Linear(3, 3)
    weights = dict(model.named_parameters())

    def loss(w: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(model, w, (x[None],)), y[None])

    grads = vmap(grad(loss), in_dims=(None, 0, 0))(weights, torch.randn(4, 3), torch.arange(4) % 3)
    assert grads["weight"].shape == (4, 3, 3)


def test_a_layer_that_overflows_is_named_not_the_activation_behind_it(watched):
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(2):
        if step == 1:
            with torch.no_grad():
                model[2].weight.fill_(1e38)
        optimizer.zero_grad()
        model(10 * torch.ones(8, 4) + model[0].bias.sum() * 0).mean().backward()
        if step == 0:
            with torch.no_grad():
                model[0].weight.fill_(1.0)
                model[0].bias.fill_(0.0)
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
        optimizer.step()
    watched.finish()
    (event,) = [data for kind, data in watched.events if kind == "nonfinite"]
    assert event["forward"]["op"] == "addmm"
    assert event["forward"]["tensor"].startswith("2.")


def test_an_evaluation_before_the_first_step_counts(watched):
    model = nn.Linear(4, 3)
    x, y = torch.randn(9, 4), torch.arange(9) % 3
    model.eval()
    with torch.no_grad():
        before = cross_entropy(model(x), y).item()
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cross_entropy(model(x), y).backward()
    optimizer.step()
    watched.finish()
    assert [(m["name"], m["value"], m["step"]) for m in watched.metrics] == [("val_loss", before, -1)]


def test_a_scale_that_has_fallen_to_zero_is_no_error(watched):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e-44, backoff_factor=1e-3)
    for _ in range(4):
        optimizer.zero_grad()
        scaler.scale(model(torch.full((2, 4), math.inf)).mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    watched.finish()
    assert [row["skipped"] for row in watched.table("steps")] == [True] * 4


def test_the_hook_points_are_all_there():
    from trimtab.frameworks.torch import check

    assert [name for name, there, _ in check() if not there] == []


@pytest.mark.parametrize("layer", [nn.Linear(5, 3), nn.Linear(5, 3, bias=False), nn.LSTM(5, 3)], ids=lambda m: str(m))
def test_a_batch_that_is_not_finite_is_told_from_what_a_layer_made_of_it(layer):
    x = torch.randn(4, 5)
    x[1, 2] = math.nan
    out = layer(x)
    found = first_nonfinite((out[0] if isinstance(out, tuple) else out).sum(), {})
    assert found["what"] == "its input is already not finite"
    assert found["input"]["nonfinite"] == 1


def test_a_weight_that_is_not_finite_is_no_fault_of_the_batch():
    layer = nn.Linear(5, 3)
    layer.weight.data[0, 0] = math.nan
    found = first_nonfinite(layer(torch.randn(4, 5)).square().sum(), {})
    assert found["what"] == "its result is not finite"
