"""What a loss function was given, against plain reckoning."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn

F = nn.functional


def facts(watched, loss, outputs: nn.Module, x: torch.Tensor) -> dict:
    """The row of one step on `loss(outputs(x))`."""
    optimizer = torch.optim.SGD(outputs.parameters(), lr=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of shapes that differ
        loss(outputs(x)).backward()
    optimizer.step()
    watched.finish()
    (row,) = watched.table("losses")
    return row


LABELS = torch.arange(40) % 3


def classifier(*last: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), *last)


@pytest.mark.parametrize(
    ("last", "loss", "after"),
    [
        ([], lambda out: F.cross_entropy(out, LABELS), "none"),
        ([nn.Softmax(1)], lambda out: F.cross_entropy(out, LABELS), "softmax"),
        ([nn.ReLU()], lambda out: F.cross_entropy(out, LABELS), "relu"),
        ([nn.LogSoftmax(1)], lambda out: F.nll_loss(out, LABELS), "log_softmax"),
        ([], lambda out: F.mse_loss(out.squeeze(), torch.randn(40, 5)), "none"),
        ([], lambda out: F.mse_loss(torch.relu(out), torch.randn(40, 5)), "relu"),
        ([], lambda out: nn.L1Loss()(torch.tanh(out), torch.randn(40, 5)), "tanh"),
        ([], lambda out: F.binary_cross_entropy(torch.sigmoid(out), torch.rand(40, 5)), "sigmoid"),
        ([], lambda out: F.mse_loss(torch.exp(out), torch.randn(40, 5)), None),
    ],
)
def test_the_activation_of_the_outputs(watched, last, loss, after):
    assert facts(watched, loss, classifier(*last), torch.randn(40, 4)).get("output_after") == after


def test_labels(watched):
    model, x = classifier(), torch.randn(40, 4)
    labels = LABELS.clone()
    labels[:4] = -100
    right = (model(x).argmax(1) == labels)[4:].float().mean().item()
    row = facts(watched, lambda out: F.cross_entropy(out, labels), model, x)
    assert row["labels_seen"] == 3
    assert row["accuracy"] == pytest.approx(right)
    assert not {"target_values", "targets_whole", "targets_one_hot", "correlation", "shapes_differ"} & row.keys()


def test_labels_are_counted_over_all_steps(watched):
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for label in (2, 4):
        F.cross_entropy(model(torch.randn(6, 4)), torch.full((6,), label)).backward()
        optimizer.step()
    watched.finish()
    assert [row["labels_seen"] for row in watched.table("losses")] == [1, 2]


def test_a_label_for_every_pixel(watched):
    model, x = nn.Conv2d(2, 3, 1), torch.randn(2, 2, 5, 5)
    labels = torch.randint(0, 3, (2, 5, 5))
    right = (model(x).argmax(1) == labels).float().mean().item()
    row = facts(watched, lambda out: F.cross_entropy(out, labels), model, x)
    assert row["accuracy"] == pytest.approx(right)


def test_targets_of_a_regression(watched):
    model, x, y = nn.Linear(4, 1), torch.randn(50, 4), torch.arange(50.0)[:, None] / 4
    out = model(x).detach()
    row = facts(watched, lambda out: F.mse_loss(out, y), model, x)
    assert row["target_values"] == 50
    assert not row["targets_whole"]
    assert "targets_one_hot" not in row
    assert "labels_seen" not in row
    assert "accuracy" not in row
    assert row["output_zeros"] == 0.0
    true = torch.corrcoef(torch.cat([out, y], 1).T)[0, 1].item()
    assert row["correlation"] == pytest.approx(true, abs=1e-5)


def test_classes_dressed_as_a_regression(watched):
    one_hot = F.one_hot(LABELS, 5).float()
    one_hot[:10, 0] = 2.0
    row = facts(watched, lambda out: F.mse_loss(torch.relu(out - 10), one_hot), classifier(), torch.randn(40, 4))
    assert row["targets_whole"]
    assert row["target_values"] == 3
    assert row["targets_one_hot"] == 0.75
    assert row["output_zeros"] == 1.0
    assert "correlation" not in row


@pytest.mark.parametrize("logits", [True, False])
def test_two_sides(watched, logits):
    model, x = nn.Linear(4, 1), torch.randn(30, 4)
    y = (torch.randn(30, 1) > 0).float()
    right = ((model(x) > 0).float() == y).float().mean().item()

    def loss(out: torch.Tensor) -> torch.Tensor:
        if logits:
            return F.binary_cross_entropy_with_logits(out, y)
        return F.binary_cross_entropy(torch.sigmoid(out), y)

    row = facts(watched, loss, model, x)
    assert row["accuracy"] == pytest.approx(right)
    assert row["target_values"] == 2
    assert row["targets_whole"]


def test_classes_given_as_probabilities(watched):
    model, x = classifier(), torch.randn(40, 4)
    soft = F.one_hot(LABELS, 5).float() * 0.9 + 0.02
    right = (model(x).argmax(1) == LABELS).float().mean().item()
    row = facts(watched, lambda out: F.cross_entropy(out, soft), model, x)
    assert row["accuracy"] == pytest.approx(right)
    assert row["targets_one_hot"] == 0.0
    seen = soft.double().sum(0) + 0.5  # as for labels: each class counts as seen half a time more
    shares = seen / seen.sum()
    assert row["chance"] == pytest.approx(float(-(shares * shares.log()).sum()), rel=1e-5)


CLASS_WEIGHT, POSITIVE = torch.tensor([1.0, 8.0, 1.0, 0.5, 2.0]), torch.tensor(30.0)


@pytest.mark.parametrize(
    ("loss", "width"),
    [
        (lambda out, y: F.cross_entropy(out, y, weight=CLASS_WEIGHT), 5),
        (lambda out, y: F.nll_loss(F.log_softmax(out, 1), y, CLASS_WEIGHT), 5),
        (lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], (y == 1).float(), pos_weight=POSITIVE), 1),
    ],
)
def test_chance_counts_the_weights_that_the_loss_was_given(watched, loss, width):
    """Against the constant that torch itself finds."""
    model, x = nn.Linear(4, width), torch.randn(4000, 4)
    y = (torch.rand(4000) ** 2 * 5).long()
    row = facts(watched, lambda out: loss(out, y), model, x)
    constant = torch.zeros(1, width, requires_grad=True)
    search = torch.optim.LBFGS([constant], max_iter=100, line_search_fn="strong_wolfe")

    def evaluate() -> torch.Tensor:
        search.zero_grad()
        value = loss(constant.expand(4000, width), y)
        value.backward()
        return value

    search.step(evaluate)
    assert row["chance"] == pytest.approx(evaluate().item(), rel=5e-3)


@pytest.mark.parametrize("shape", [(40, 1), (1, 5)])
def test_chance_is_not_known_where_entries_count_unequally(watched, shape):
    model, x, weight = classifier(), torch.randn(40, 4), torch.rand(shape) + 0.5
    one_hot = F.one_hot(LABELS, 5).float()
    row = facts(watched, lambda out: F.binary_cross_entropy_with_logits(out, one_hot, weight=weight), model, x)
    assert "chance" not in row


LOSSES = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, nn.MSELoss(), nn.L1Loss(), nn.HuberLoss())


@pytest.mark.parametrize("loss", LOSSES)
def test_outputs_and_targets_broadcast_against_each_other(watched, loss):
    row = facts(watched, lambda out: loss(out, torch.randn(40)), nn.Linear(4, 1), torch.randn(40, 4))
    assert row["shapes_differ"]


@pytest.mark.parametrize(
    ("shape", "targets"),
    [
        ((40, 1), torch.randn(40, 1)),
        ((40,), torch.randn(40)),
        ((40, 1), torch.ones(1, 1).expand(40, 1)),  # stretched by the script, as it should be
        ((40, 1), torch.tensor(1.0)),  # one target for all
        ((1, 40), torch.randn(40)),
        ((40, 1), torch.randn(1)),
    ],
)
def test_shapes_that_belong_together(watched, shape, targets):
    row = facts(watched, lambda out: F.mse_loss(out.view(shape), targets), nn.Linear(4, 1), torch.randn(40, 4))
    assert not row["shapes_differ"]


def test_many_targets_are_thinned(watched):
    model, x = nn.Conv2d(1, 3, 1), torch.randn(2, 1, 500, 500)
    y = torch.randint(0, 7, (2, 3, 500, 500)).float()
    row = facts(watched, lambda out: F.mse_loss(out, y), model, x)
    assert row["target_values"] == 7
    assert row["target_mean"] == pytest.approx(3.0, abs=0.05)
    assert abs(row["correlation"]) < 0.01


def test_outputs_that_are_not_finite_have_no_correlation(watched):
    row = facts(watched, lambda out: F.mse_loss(out * math.inf, torch.randn(9, 1)), nn.Linear(4, 1), torch.ones(9, 4))
    assert "correlation" not in row
