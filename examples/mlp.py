"""A multi-layer perceptron that reads handwritten digits."""

import itertools

import torch
from torch import nn
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

NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLP(nn.Module):
    def __init__(self, depth, width, activation, norm):
        super().__init__()
        sizes = [64] + [width] * depth
        layers = [nn.Flatten()]
        for n_in, n_out in itertools.pairwise(sizes):
            layers.append(nn.Linear(n_in, n_out))
            if norm != "none":
                layers.append(NORMS[norm](n_out))
            layers.append(ACTIVATIONS[activation]())
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.body(x))


class Trainer:
    def __init__(self, model, optimizer, criterion, clip, augmentation):
        self.model = model
        self.optimizer = optimizer
        self.criterion = criterion
        self.clip = clip
        self.augmentation = augmentation

    def train_step(self, images, labels):
        def closure():
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), labels)
            loss.backward()
            clip_gradients(self.model.parameters(), self.clip)
            return loss

        return self.optimizer.step(closure).item()

    def train_epoch(self, loader):
        self.model.train()
        losses = [self.train_step(augment(x, self.augmentation), y) for x, y in loader]
        return sum(losses) / len(losses)

    @torch.no_grad()
    def validate(self, loader):
        self.model.eval()
        loss, correct = 0.0, 0
        for images, labels in loader:
            logits = self.model(images)
            loss += self.criterion(logits, labels).item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
        n = len(loader.dataset)
        return loss / n, correct / n

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(1, epochs + 1):
            train_loss = self.train_epoch(train_loader)
            val_loss, val_accuracy = self.validate(val_loader)
            print(
                f"epoch {epoch:3d}  train loss {train_loss:.4f}"
                f"  val loss {val_loss:.4f}  val accuracy {val_accuracy:.4f}",
                flush=True,
            )


def main():
    parser = make_parser(
        __doc__, optimizer="adam", lr=1e-3, activation="relu", init="he", norm="none",
        norms=["none", "batch", "layer"], depth=3, width=128, batch_size=64, val_share=0.2,
    )  # fmt: skip
    parser.add_argument("--epochs", type=count, default=20, help="passes over the training images")
    parser.add_argument("--augment", choices=["none", "rotate", "crop"], default="none", help="of the images")
    args = parse(parser)

    torch.manual_seed(args.seed)
    train_x, train_y, val_x, val_y = digit_images(args.val_share)
    batch_size = min(args.batch_size, len(train_x))
    train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(val_x, val_y), batch_size=256)

    model = MLP(args.depth, args.width, args.activation, args.norm)
    initialise(model, args.init)
    optimizer = make_optimizer(args.optimizer, model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), args.clip, args.augment)
    trainer.fit(train_loader, val_loader, args.epochs)
    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
