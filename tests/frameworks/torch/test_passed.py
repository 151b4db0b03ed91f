"""Which activation a module's input and a loss's outputs have passed, however the script wrote it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trimtab.frameworks.torch._passed import activation_passed

F = nn.functional


def linear(x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, torch.randn(6, x.shape[-1], requires_grad=True), torch.randn(6, requires_grad=True))


ACTIVATIONS = [
    (F.relu, "relu"),
    (lambda h: F.relu(h * 1, inplace=True), "relu"),
    (lambda h: h.clamp(min=0), "relu"),
    (lambda h: F.threshold(h, 0, 0), "relu"),
    (F.relu6, "relu6"),
    (lambda h: h.clamp(-1, 1), "hardtanh"),
    (lambda h: h.clamp(0, 3), "clamp"),
    (F.leaky_relu, "leaky_relu"),
    (nn.PReLU(), "prelu"),
    (F.elu, "elu"),
    (F.selu, "elu"),
    (F.gelu, "gelu"),
    (F.silu, "silu"),
    (F.mish, "mish"),
    (torch.tanh, "tanh"),
    (torch.sigmoid, "sigmoid"),
    (F.softplus, "softplus"),
    (lambda h: F.softmax(h, 1), "softmax"),
    (lambda h: F.log_softmax(h, 1), "log_softmax"),
]


@pytest.mark.parametrize(("activation", "name"), ACTIVATIONS)
def test_an_activation_is_seen_by_its_operation(activation, name):
    assert activation_passed(activation(linear(torch.randn(4, 5)))).name == name


@pytest.mark.parametrize(
    ("between", "unchanged"),
    [
        (lambda h: h, True),
        (lambda h: h.view(2, 12).t(), True),
        (lambda h: h[1:, ::2].unsqueeze(0), True),
        (lambda h: torch.cat([h, h], 1), True),
        (lambda h: F.dropout(h, 0.5), False),
        (lambda h: 1 + 2 * h, False),
        (lambda h: nn.BatchNorm1d(6)(h), False),
        (lambda h: F.max_pool1d(h[None], 2), False),
        (lambda h: torch.eye(4) @ h, False),
        (lambda h: h + torch.sigmoid(linear(h)), False),
    ],
)
def test_what_lies_between_leaves_the_activation_in_sight(between, unchanged):
    passed = activation_passed(between(torch.sigmoid(linear(torch.randn(4, 5)))))
    assert (passed.name, passed.unchanged) == ("sigmoid", unchanged)


@pytest.mark.parametrize(
    "operation",
    [
        lambda h: linear(F.relu(h)),
        lambda h: F.relu(h) @ torch.randn(6, 2, requires_grad=True),
        lambda h: F.relu(h)[None] @ torch.randn(6, 2, requires_grad=True)[None].to(torch.float32),
        lambda h: linear(F.relu(h)[None]),
        lambda h: F.dropout(nn.BatchNorm1d(6)(linear(F.relu(h)))),
        lambda h: nn.Conv1d(4, 2, 3)(F.relu(h)[None]),
        lambda h: nn.Embedding(3, 4)(torch.tensor([0, 2])),
        lambda h: linear(h) + linear(F.relu(h)),
    ],
)
def test_a_weighted_operation_comes_first(operation):
    assert activation_passed(operation(linear(torch.randn(4, 5)))).name == "none"


def deep(h: torch.Tensor) -> torch.Tensor:
    for _ in range(200):
        h = h + 1
    return h


@pytest.mark.parametrize(
    "operation",
    [
        lambda h: torch.randn(3, 3),
        lambda h: torch.randn(3, 3, requires_grad=True),
        lambda h: h.detach(),
        lambda h: h + F.relu(h),  # a sum is neither's output
        lambda h: F.relu(h) + h,
        lambda h: torch.sigmoid(h) * torch.tanh(h),
        lambda h: torch.exp(h),
        lambda h: torch.where(h > 0, h, 0.0),
        lambda h: F.scaled_dot_product_attention(h[None, None], h[None, None], h[None, None]),
        lambda h: torch.softmax(h @ h.T, 1) @ h,
        lambda h: nn.LSTM(6, 3)(h)[0],
        lambda h: deep(F.relu(h)),
    ],
)
def test_where_it_cannot_be_told_nothing_is_said(operation):
    assert activation_passed(operation(linear(torch.randn(4, 5)))).name is None


def test_saved_tensors_are_not_asked_for():
    """A script's hooks on them may do anything: offload, recompute."""
    asked = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: asked.append(t) or t):
        h = torch.sigmoid(linear(torch.randn(4, 5)).clamp(0, 1)) * 2
    assert activation_passed(h).name == "sigmoid"
    assert asked == []


def test_a_wide_graph_ends_the_search():
    h = F.relu(linear(torch.randn(4, 5)))
    for _ in range(11):
        h = torch.cat([h, h, h], 0)[:4]
    assert activation_passed(h).name is None
