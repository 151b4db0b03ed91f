"""The families of trainings: models and data of examples/, and three more on the same footing."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .task import Loss, Settings, Task

EXAMPLES = Path(__file__).parents[2] / "examples"
if str(EXAMPLES) not in sys.path:
    sys.path.insert(0, str(EXAMPLES))

import common  # noqa: E402
import gcn  # noqa: E402
import mlp  # noqa: E402
import resnet  # noqa: E402
import transformer  # noqa: E402
import vgg  # noqa: E402

Defaults = dict[str, Any]
Data = tuple[Tensor, Tensor]

COMMON: Defaults = {"activation": "relu", "init": "he", "norm": "none", "optimizer": "adam", "batch_size": 64}
DEFAULTS: dict[str, Defaults] = {
    "mlp": COMMON | {"steps": 240, "depth": 3, "width": 96, "lr": 1e-3},
    "deep": COMMON | {"steps": 240, "depth": 10, "width": 64, "lr": 1e-3},
    "vgg": COMMON | {"steps": 160, "depth": 6, "width": 8, "lr": 2e-3, "batch_size": 48},
    "resnet": COMMON
    | {"steps": 240, "depth": 4, "width": 8, "lr": 0.02, "batch_size": 48}
    | {"init": "default", "norm": "batch", "optimizer": "nesterov"},
    "lstm": COMMON
    | {"steps": 300, "depth": 1, "width": 32, "lr": 2e-2, "clip": "norm:1.0"}
    | {"activation": "tanh", "init": "default"},
    "rnn": COMMON
    | {"steps": 300, "depth": 1, "width": 32, "lr": 3e-3, "clip": "norm:1.0"}
    | {"activation": "tanh", "init": "orthogonal"},
    "gcn": COMMON | {"steps": 150, "depth": 2, "width": 32, "lr": 1e-2, "batch_size": 40, "init": "xavier"},
    "transformer": COMMON
    | {"steps": 200, "depth": 2, "width": 32, "lr": 5e-3, "batch_size": 16}
    | {"activation": "gelu", "init": "default", "norm": "layer", "optimizer": "adamw"},
    "regression": COMMON | {"steps": 300, "depth": 3, "width": 64, "lr": 3e-3},
    "binary": COMMON | {"steps": 200, "depth": 2, "width": 32, "lr": 2e-3, "batch_size": 32},
}


def settings_of(family: str, seed: int, flags: dict[str, Any]) -> Settings:
    return Settings(family=family, seed=seed, **DEFAULTS[family]).with_flags(flags)


def build(settings: Settings) -> Task:
    """Model, data and loss of one training; the seed decides weights, split and order."""
    torch.manual_seed(settings.seed)
    task = BUILDERS[settings.family](settings)
    if settings.dropout:
        add_dropout(task.model, settings.dropout)
    if settings.label_noise:
        randomise_labels(task.train[1], settings.label_noise)
    if settings.augment in ("rotate", "crop"):
        task.prepare = lambda x: common.augment(x, settings.augment)
    for layer in weighted(task.model)[: settings.frozen]:
        layer.requires_grad_(False)
    if settings.dtype == "bfloat16":
        to_bfloat16(task)
    elif settings.dtype == "autocast":
        autocast(task)
    return task


# --- handwritten digits -------------------------------------------------------------------------


def _digits(settings: Settings) -> Task:
    size = 16 if settings.family == "vgg" else 8
    train_x, train_y, held_x, held_y = common.digit_images(0.3, size)
    model = _digits_model(settings)
    common.initialise(model, common.init_spec(settings.init))
    return _classes(model, (train_x, train_y), (held_x, held_y), features=[train_x, held_x], settings=settings)


def _digits_model(settings: Settings) -> nn.Module:
    s = settings
    if s.family == "vgg":
        return vgg.make_vgg(s.depth, s.width, s.activation, s.norm)
    if s.family == "resnet":
        return resnet.ResNet(resnet.Config(activation=s.activation, norm=s.norm, depth=s.depth, width=s.width))
    return mlp.MLP(s.depth, s.width, s.activation, s.norm)


# --- the adding problem -------------------------------------------------------------------------


def _adding(settings: Settings) -> Task:
    """The cells of examples/lstm.py up to its optimizer: a script, so it is run, not imported."""
    s = settings
    length = 20 if s.family == "lstm" else 10
    flags = {
        "--cell": s.family, "--length": length, "--samples": 3000, "--depth": s.depth, "--width": s.width,
        "--norm": s.norm, "--activation": s.activation, "--init": s.init, "--optimizer": s.optimizer, "--lr": s.lr,
        "--seed": s.seed, "--val-share": 0.2,
    }  # fmt: skip
    source = (EXAMPLES / "lstm.py").read_text(encoding="utf-8").split("\noptimizer = ")[0]
    cells: dict[str, Any] = {"__name__": "lstm"}
    before = sys.argv
    sys.argv = ["lstm.py", *(str(word) for pair in flags.items() for word in pair)]
    try:
        exec(compile(source, str(EXAMPLES / "lstm.py"), "exec"), cells)
    finally:
        sys.argv = before
    model = cells["model"]
    train, held = (cells["x_train"], cells["y_train"]), (cells["x_val"], cells["y_val"])
    return _values(model, train, held, settings, features=[train[0], held[0]])


# --- graph, text --------------------------------------------------------------------------------


def _graph(settings: Settings) -> Task:
    adjacency, features, community = gcn.make_graph(settings.seed)
    train, held = common.split(len(community), 0.5)
    s = settings
    model = gcn.GCN(s.depth, s.width, s.activation, s.norm)
    common.initialise(model, common.init_spec(s.init))
    whole = gcn.normalise(adjacency)

    def answer(nodes: Tensor) -> Tensor:
        dropping = s.augment == "drop_edge" and model.training
        return model(features, gcn.normalise(gcn.drop_edges(adjacency, 0.2)) if dropping else whole)[nodes]

    task = _classes(
        model, (train, community[train]), (held, community[held]), features=[features], settings=settings
    )  # fmt: skip
    task.answer = answer
    return task


def _text(settings: Settings) -> Task:
    s = settings
    texts = transformer.make_text(0.1, s.seed)
    ids = {c: i for i, c in enumerate(sorted(set("".join(texts))))}
    codes = [torch.tensor([ids[c] for c in text]) for text in texts]
    train, held = codes[0].unfold(0, 33, 11), codes[1].unfold(0, 33, 32)
    model = transformer.Transformer(len(ids), s.depth, s.width, s.activation, s.norm, skip=True)
    common.initialise(model, common.init_spec(s.init))
    task = _classes(model, (train[:, :-1], train[:, 1:]), (held[:, :-1], held[:, 1:]), features=[], settings=settings)
    task.answer = lambda x: model(x).flatten(0, 1)
    loss, gain = task.loss, task.gain
    task.loss = lambda out, y: loss(out, y.flatten())
    task.gain = lambda out, y: gain(out, y.flatten())
    return task


# --- values and yes or no ----------------------------------------------------------------------


def perceptron(n_in: int, n_out: int, s: Settings) -> nn.Sequential:
    sizes = [n_in] + [s.width] * s.depth
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers.append(nn.Linear(a, b))
        if s.norm != "none":
            layers.append(mlp.NORMS[s.norm](b))
        layers.append(common.ACTIVATIONS[s.activation]())
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_out))


def _regression(settings: Settings) -> Task:
    """Eight numbers to one by products and a kink, so that no linear model gets far; targets are standardised."""
    x = torch.rand(3000, 8) * 2 - 1
    y = 2 * x[:, 0] * x[:, 1] + torch.sin(3 * x[:, 2]) * x[:, 3] + (2 * x[:, 4]).abs() + 0.1 * torch.randn(3000)
    y = (y - y.mean()) / y.std()
    train, held = common.split(len(x), 0.3)
    model = perceptron(8, 1, settings)
    common.initialise(model, common.init_spec(settings.init))
    data = (x[train].clone(), y[train].clone()), (x[held].clone(), y[held].clone())
    task = _values(model, *data, settings, features=[data[0][0], data[1][0]])
    task.answer = lambda rows: model(rows).squeeze(1)
    return task


@cache
def _tumours() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return torch.tensor(data.data, dtype=torch.float32), torch.tensor(data.target, dtype=torch.float32)


def _binary(settings: Settings) -> Task:
    """scikit-learn's breast-cancer data, standardised: thirty numbers, yes or no."""
    x, y = _tumours()
    train, held = common.split(len(x), 0.3)
    x = (x - x[train].mean(0)) / x[train].std(0)
    model = perceptron(30, 1, settings)
    common.initialise(model, common.init_spec(settings.init))
    data = (x[train].clone(), y[train].clone()), (x[held].clone(), y[held].clone())
    most = float(torch.maximum(y.mean(), 1 - y.mean()))
    return Task(
        model, lambda rows: model(rows).squeeze(1), F.binary_cross_entropy_with_logits,
        lambda out, y: _over_chance(float(((out > 0) == (y > 0.5)).float().mean()), most),
        *data, data[1][1].clone(), "binary", [data[0][0], data[1][0]],
    )  # fmt: skip


# --- what they share ----------------------------------------------------------------------------


def _classes(
    model: nn.Module, train: Data, held: Data, *, features: list[Tensor], settings: Settings
) -> Task:  # fmt: skip
    most = float(torch.bincount(train[1].flatten()).max() / train[1].numel())
    smoothing = 0.1 if settings.loss == "smoothed" else 0.0
    return Task(
        model,
        lambda x: model(x),
        lambda out, y: F.cross_entropy(out, y, label_smoothing=smoothing),
        lambda out, y: _over_chance(float((out.argmax(1) == y).float().mean()), most),
        train, held, held[1].clone(), "classes", features,
    )  # fmt: skip


def _values(
    model: nn.Module, train: Data, held: Data, settings: Settings, features: list[Tensor]
) -> Task:  # fmt: skip
    losses: dict[str, Loss] = {"own": F.mse_loss, "huber": F.huber_loss, "l1": F.l1_loss}
    return Task(
        model, lambda x: model(x), losses[settings.loss],
        lambda out, y: 1.0 - float(F.mse_loss(out, y) / y.var()),
        train, held, held[1].clone(), "values", features,
    )  # fmt: skip


def _over_chance(accuracy: float, chance: float) -> float:
    return (accuracy - chance) / (1 - chance)


def weighted(model: nn.Module) -> list[nn.Module]:
    """Modules that own a matrix, in order of definition."""
    return [m for m in model.modules() if any(p.dim() >= 2 for p in m.parameters(recurse=False))]


def to_bfloat16(task: Task) -> None:
    task.model.to(torch.bfloat16)
    answer = task.answer
    task.answer = lambda x: answer(x.to(torch.bfloat16)).float()


def autocast(task: Task) -> None:
    answer = task.answer

    def under_autocast(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return answer(x).float()

    task.answer = under_autocast


def add_dropout(model: nn.Module, p: float) -> None:
    """A dropout behind every activation."""
    replace_activations(model, lambda activation: nn.Sequential(activation, nn.Dropout(p)))


def replace_activations(model: nn.Module, make: Callable[[nn.Module], nn.Module]) -> None:
    kinds = tuple(common.ACTIVATIONS.values())
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                setattr(parent, name, make(child))


def randomise_labels(labels: Tensor, share: float) -> None:
    """Give a share of the rows the label of another row, in place."""
    chosen = torch.rand(len(labels)) < share
    labels[chosen] = labels[torch.randperm(len(labels))[: int(chosen.sum())]]


def warm() -> None:
    """Build one task of each family: what that loads and caches, forked children need not load again."""
    with contextlib.redirect_stdout(io.StringIO()):
        for family in DEFAULTS:
            build(settings_of(family, 0, {}))


BUILDERS: dict[str, Callable[[Settings], Task]] = {
    "mlp": _digits,
    "deep": _digits,
    "vgg": _digits,
    "resnet": _digits,
    "lstm": _adding,
    "rnn": _adding,
    "gcn": _graph,
    "transformer": _text,
    "regression": _regression,
    "binary": _binary,
}
