"""A small residual network (He et al. 2015, arXiv:1512.03385) on handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from common import (
    ACTIVATIONS,
    augment,
    clip_gradients,
    count,
    digit_images,
    initialise,
    make_optimizer,
    make_parser,
    parse,
)


@dataclass(frozen=True)
class Config:
    """The flags, with their defaults."""

    activation: str = "relu"
    init: tuple[str, float | None] | str = "default"
    norm: str = "batch"
    optimizer: str = "nesterov"
    lr: float = 0.02
    weight_decay: float | None = None
    clip: tuple[str, float | None] | str = "none"
    augment: str = "none"
    val_share: float = 0.2
    epochs: int = 8
    batch_size: int = 64
    depth: int = 6
    width: int = 16
    seed: int = 0
    save: Path | None = None

    @classmethod
    def from_command_line(cls) -> Config:
        parser = make_parser(
            __doc__, optimizer=cls.optimizer, lr=cls.lr, activation=cls.activation, init=cls.init,
            norm=cls.norm, norms=["none", "batch", "layer"], depth=cls.depth, width=cls.width,
            batch_size=cls.batch_size, val_share=cls.val_share,
        )  # fmt: skip
        parser.add_argument("--epochs", type=count, default=cls.epochs, help="passes over the images")
        parser.add_argument("--augment", choices=["none", "rotate", "crop"], default=cls.augment, help="of the images")
        return cls(**vars(parse(parser)))


def make_norm(norm: str, channels: int) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(1, channels)


class Block(nn.Module):
    """Two convolutions and the shortcut around them; the activation comes after the sum."""

    def __init__(self, n_in: int, n_out: int, stride: int, config: Config):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1)
        self.norm1 = make_norm(config.norm, n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1)
        self.norm2 = make_norm(config.norm, n_out)
        self.activation = ACTIVATIONS[config.activation]()
        same = n_in == n_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(n_in, n_out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.activation(self.norm1(self.conv1(x)))
        branch = self.norm2(self.conv2(branch))
        return self.activation(self.shortcut(x) + branch)


class ResNet(nn.Module):
    """`depth` blocks; the second half of them works at half the resolution and twice the width."""

    def __init__(self, config: Config):
        super().__init__()
        self.stem = nn.Conv2d(1, config.width, 3, padding=1)
        self.norm = make_norm(config.norm, config.width)
        self.activation = ACTIVATIONS[config.activation]()
        blocks, channels = [], config.width
        for i in range(config.depth):
            wide = i >= config.depth // 2
            out = 2 * config.width if wide else config.width
            blocks.append(Block(channels, out, 2 if out != channels else 1, config))
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm(self.stem(x)))
        x = self.blocks(x)
        return self.head(x.mean(dim=(2, 3)))


def train(model: nn.Module, loader: DataLoader, optimizer, loss_fn: nn.Module, config: Config) -> float:
    model.train()
    total = 0.0
    for images, labels in loader:
        inputs = augment(images, config.augment)

        def closure(inputs=inputs, labels=labels) -> Tensor:
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), labels)
            loss.backward()
            clip_gradients(model.parameters(), config.clip)
            return loss

        total += optimizer.step(closure).item()
    return total / len(loader)


@torch.no_grad()
def validate(model: nn.Module, loader: DataLoader, loss_fn: nn.Module) -> tuple[float, float]:
    model.eval()
    loss, hits, n = 0.0, 0, 0
    for images, labels in loader:
        logits = model(images)
        loss += loss_fn(logits, labels).item() * len(labels)
        hits += int((logits.argmax(dim=1) == labels).sum())
        n += len(labels)
    return loss / n, hits / n


def main() -> None:
    config = Config.from_command_line()
    torch.manual_seed(config.seed)
    train_x, train_y, val_x, val_y = digit_images(config.val_share)
    train_loader = DataLoader(
        TensorDataset(train_x, train_y),
        batch_size=min(config.batch_size, len(train_x)),
        shuffle=True,
        drop_last=True,  # batch norm cannot take a last batch of one
    )
    val_loader = DataLoader(TensorDataset(val_x, val_y), batch_size=512)

    model = ResNet(config)
    initialise(model, config.init)
    optimizer = make_optimizer(config.optimizer, model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    loss_fn = nn.CrossEntropyLoss()
    for epoch in range(1, config.epochs + 1):
        train_loss = train(model, train_loader, optimizer, loss_fn, config)
        val_loss, val_accuracy = validate(model, val_loader, loss_fn)
        print(
            f"epoch {epoch:3d}  train loss {train_loss:.4f}  val loss {val_loss:.4f}  val accuracy {val_accuracy:.4f}",
            flush=True,
        )
    if config.save:
        torch.save(model.state_dict(), config.save)


if __name__ == "__main__":
    main()
