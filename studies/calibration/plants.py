"""What a planted fault does to a training: to its settings before it is built, to its model, data or loss after."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .families import replace_activations, weighted
from .ranks import average
from .task import Loss, Settings, Task

Flags = dict[str, Any]
Plant = Callable[[Task, Settings], None]

# --- the learning rate and the optimizer --------------------------------------------------------


def times_lr(factor: float) -> Callable[[Settings], Flags]:
    return lambda s: {"lr": s.lr * factor}


def wrong_sign(task: Task, s: Settings) -> None:
    wrap_loss(task, lambda loss: lambda out, y: -loss(out, y))


# --- weights ------------------------------------------------------------------------------------


def times_weights(factor: float) -> Plant:
    def plant(task: Task, s: Settings) -> None:
        with torch.no_grad():
            for p in task.model.parameters():
                if p.dim() >= 2:
                    p.mul_(factor)

    return plant


def times_recurrent(factor: float) -> Plant:
    def plant(task: Task, s: Settings) -> None:
        with torch.no_grad():
            for name, p in task.model.named_parameters():
                if "recurrent" in name or "weight_hh" in name:
                    p.mul_(factor)

    return plant


def dead_biases(task: Task, s: Settings) -> None:
    """The bias of every layer but the last so low that no unit is ever above zero."""
    layers = weighted(task.model)
    with torch.no_grad():
        for layer in layers[:-1]:
            if getattr(layer, "bias", None) is not None:
                layer.bias.fill_(-10.0)  # type: ignore[operator]


# --- wiring -------------------------------------------------------------------------------------


def detach(task: Task, s: Settings) -> None:
    """The last layer gets its input without its history."""
    weighted(task.model)[-1].register_forward_pre_hook(lambda module, args: (args[0].detach(), *args[1:]))


def detach_all(task: Task, s: Settings) -> None:
    wrap_loss(task, lambda loss: lambda out, y: loss(out.detach(), y))


def freeze(task: Task, s: Settings) -> None:
    """All but the last layer is frozen, after the optimizer was given everything."""
    last = weighted(task.model)[-1]
    for p in task.model.parameters():
        p.requires_grad_(any(p is q for q in last.parameters()))


def forget(task: Task, s: Settings) -> None:
    """The optimizer is given the last layer only."""
    task.parameters = lambda: list(weighted(task.model)[-1].parameters())


def no_average(task: Task, s: Settings) -> None:
    task.synchronise = lambda: None


def average_but_last(task: Task, s: Settings) -> None:
    """The last layer is none of those that are averaged, as one that was added after the model was wrapped."""
    last = list(weighted(task.model)[-1].parameters())
    others = [p for p in task.model.parameters() if not any(p is q for q in last)]
    task.synchronise = lambda: average(others)


# --- activations, outputs, loss -----------------------------------------------------------------


def wrap_loss(task: Task, wrap: Callable[[Loss], Loss]) -> None:
    task.loss = wrap(task.loss)


def output(function: Callable[[Tensor], Tensor]) -> Plant:
    def plant(task: Task, s: Settings) -> None:
        answer = task.answer
        task.answer = lambda x: function(answer(x))

    return plant


def softmax_of_one(task: Task, s: Settings) -> None:
    model = task.model
    task.answer = lambda x: torch.softmax(model(x), dim=1).squeeze(1)
    task.loss = F.binary_cross_entropy


def all_linear(task: Task, s: Settings) -> None:
    replace_activations(task.model, lambda activation: nn.Identity())


def broadcast(task: Task, s: Settings) -> None:
    model = task.model

    def loss(out: Tensor, y: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return F.mse_loss(out.unsqueeze(1), y)

    task.answer, task.loss = lambda x: model(x).squeeze(1), loss


# --- data ---------------------------------------------------------------------------------------


def shuffle(task: Task, s: Settings) -> None:
    for _, y in (task.train, task.held_out):
        y.copy_(y[torch.randperm(len(y))])


def noise_inputs(task: Task, s: Settings) -> None:
    for x in task.features:
        x.copy_(torch.randn_like(x) * x.std() + x.mean())


def same_label(task: Task, s: Settings) -> None:
    for _, y in (task.train, task.held_out):
        y.fill_(y.flatten()[0])


def labels_beyond(task: Task, s: Settings) -> None:
    """Labels that count from 1 where 0 is meant, so that the highest has no output."""
    task.train[1].add_(1)


def times_inputs(factor: float, shift: float = 0.0) -> Plant:
    def plant(task: Task, s: Settings) -> None:
        for x in task.features:
            x.mul_(factor).add_(shift)

    return plant


def times_targets(factor: float, shift: float = 0.0) -> Plant:
    def plant(task: Task, s: Settings) -> None:
        for y in (task.train[1], task.held_out[1], task.truth):
            y.mul_(factor).add_(shift)

    return plant


def bad_batch(change: Callable[[Tensor], Tensor]) -> Plant:
    def plant(task: Task, s: Settings) -> None:
        task.disturb = lambda step, x, y: (change(x), y) if step == bad_step(s) else (x, y)

    return plant


def wild_targets(task: Task, s: Settings) -> None:
    task.disturb = lambda step, x, y: (x, 100 * y) if step == bad_step(s) else (x, y)


def few_rows(task: Task, s: Settings) -> None:
    """Fifty rows, a fifth of them with the label of another: they can be learnt by heart only."""
    x, y = task.train
    x, y = x[:50].clone(), y[:50].clone()
    y[:10] = y[torch.randperm(50)[:10]]
    task.train = (x, y)


def bad_step(s: Settings) -> int:
    return 2 * s.steps // 3


# --- numbers ------------------------------------------------------------------------------------


def log_of_negative(task: Task, s: Settings) -> None:
    """The mean squared difference of logarithms, of outputs that may be below -1."""
    low = min(float(task.train[1].min()), float(task.held_out[1].min()))
    task.train[1].sub_(low), task.held_out[1].sub_(low), task.truth.sub_(low)
    task.loss = lambda out, y: F.mse_loss(torch.log1p(out), torch.log1p(y))


def log_of_zero(task: Task, s: Settings) -> None:
    """Cross-entropy by hand, of probabilities from a ReLU: log(0) where the right class gets none."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        shares = torch.relu(out) / torch.relu(out).sum(1, keepdim=True)
        return -torch.log(shares[torch.arange(len(y)), y]).mean()

    task.loss = loss


def root_of_zero(task: Task, s: Settings) -> None:
    """A penalty on the length of the positive part, whose slope at length 0 is 0 / 0."""
    wrap_loss(
        task,
        lambda loss: (
            lambda out, y: loss(out, y) + 0.01 * torch.relu(out).pow(2).reshape(len(out), -1).sum(1).sqrt().mean()
        ),
    )


def where_trap(task: Task, s: Settings) -> None:
    """The square root of negative numbers, masked out of the value but not out of the gradient."""
    wrap_loss(task, lambda loss: lambda out, y: loss(out, y) + 0.01 * torch.where(out > 0, out.sqrt(), 0.0).mean())


def softmax_by_hand(task: Task, s: Settings) -> None:
    """exp(x) / sum exp(x) without subtracting the maximum; at 40 times the scale it overflows."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        e = torch.exp(40 * out)
        p = e / e.sum(1, keepdim=True)
        return -torch.log(p[torch.arange(len(y)), y] + 1e-12).mean()

    task.loss = loss


def over_smooth(s: Settings) -> Flags:
    return {"depth": 16}
