"""A small VGG (Simonyan and Zisserman 2014, arXiv:1409.1556) on handwritten digits, enlarged to 16 x 16."""

import torch
import torch.nn.functional as F
from torch import nn

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

STAGES = 3  # each ends with a pooling that halves the image: 16 -> 8 -> 4 -> 2


def norm_layers(norm, channels):
    if norm == "batch":
        return [nn.BatchNorm2d(channels)]
    if norm == "layer":
        return [nn.GroupNorm(1, channels)]
    return []


def make_vgg(depth, width, activation, norm):
    layers, channels = [], 1
    for stage in range(STAGES):
        convolutions = depth // STAGES + (stage < depth % STAGES)
        for _ in range(convolutions):
            out = width * 2**stage
            layers += [nn.Conv2d(channels, out, kernel_size=3, padding=1)]
            layers += [*norm_layers(norm, out), ACTIVATIONS[activation]()]
            channels = out
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(channels * 4, 64), ACTIVATIONS[activation](), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def train_one_epoch(model, optimizer, images, labels, args):
    """One pass in random order; returns the mean loss of the batches."""
    model.train()
    losses = []
    # A last, smaller batch is left out.
    for batch in torch.randperm(len(images)).split(args.batch_size)[: max(1, len(images) // args.batch_size)]:
        x, y = augment(images[batch], args.augment), labels[batch]

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            clip_gradients(model.parameters(), args.clip)
            return loss

        losses.append(optimizer.step(closure).item())
    return sum(losses) / len(losses)


def evaluate(model, images, labels):
    model.eval()
    with torch.no_grad():
        logits = model(images)
        loss = F.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
    return loss, accuracy


def parse_args():
    parser = make_parser(
        __doc__, optimizer="adam", lr=1e-3, activation="relu", init="he", norm="none",
        norms=["none", "batch", "layer"], depth=6, width=8, batch_size=64, val_share=0.2,
    )  # fmt: skip
    parser.add_argument("--epochs", type=count, default=10, help="passes over the training images")
    parser.add_argument("--augment", choices=["none", "rotate", "crop"], default="none", help="of the images")
    return parse(parser)


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    train_x, train_y, val_x, val_y = digit_images(args.val_share, size=16)

    model = make_vgg(args.depth, args.width, args.activation, args.norm)
    initialise(model, args.init)
    optimizer = make_optimizer(args.optimizer, model.parameters(), lr=args.lr, weight_decay=args.weight_decay)

    for epoch in range(args.epochs):
        train_loss = train_one_epoch(model, optimizer, train_x, train_y, args)
        val_loss, val_acc = evaluate(model, val_x, val_y)
        print(
            f"epoch {epoch + 1:3d}  train loss {train_loss:.4f}  val loss {val_loss:.4f}  val accuracy {val_acc:.4f}",
            flush=True,
        )

    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
