"""A small transformer that learns to write sums in words, character by character.

The text is generated: "forty-two plus nine is fifty-one." and so on. A model that knows only how frequent
each character is has a loss of 2.79 nats; which numbers come cannot be guessed, their sum can be worked out.
"""

import torch
import torch.nn.functional as F
from torch import nn

from common import ACTIVATIONS, clip_gradients, count, initialise, make_optimizer, make_parser, parse
from data import make_text

CONTEXT = 48
HEADS = 4


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class Block(nn.Module):
    """Attention and an MLP, each normalised before and added to its input (pre-norm)."""

    def __init__(self, width, activation, norm, skip):
        super().__init__()
        make_norm = nn.LayerNorm if norm == "layer" else nn.Identity
        self.norm1, self.norm2 = make_norm(width), make_norm(width)
        self.attention = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), ACTIVATIONS[activation](), nn.Linear(4 * width, width))
        self.skip = skip

    def forward(self, x):
        y = self.attention(self.norm1(x))
        x = x + y if self.skip else y
        y = self.mlp(self.norm2(x))
        return x + y if self.skip else y


class Transformer(nn.Module):
    def __init__(self, vocabulary, depth, width, activation, norm, skip):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.Sequential(*(Block(width, activation, norm, skip) for _ in range(depth)))
        self.norm = nn.LayerNorm(width) if norm == "layer" else nn.Identity()
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def loss_of(model, windows):
    """Cross-entropy of each next character, and the logits (B, T, vocabulary)."""
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()), logits


def train(model, optimizer, text, args, steps):
    model.train()
    losses = []
    for _ in range(steps):
        starts = torch.randint(len(text) - CONTEXT, (args.batch_size,))
        windows = torch.stack([text[s : s + CONTEXT + 1] for s in starts])

        def closure(windows=windows):
            optimizer.zero_grad()
            loss, _ = loss_of(model, windows)
            loss.backward()
            clip_gradients(model.parameters(), args.clip)
            return loss

        losses.append(optimizer.step(closure).item())
    return sum(losses) / len(losses)


@torch.no_grad()
def validate(model, text):
    """Mean loss and accuracy over the whole validation text, in windows that do not overlap."""
    model.eval()
    windows = text.unfold(0, CONTEXT + 1, CONTEXT)
    loss = hits = 0.0
    for batch in windows.split(128):
        batch_loss, logits = loss_of(model, batch)
        loss += batch_loss.item() * len(batch)
        hits += (logits.argmax(dim=2) == batch[:, 1:]).float().mean().item() * len(batch)
    return loss / len(windows), hits / len(windows)


def get_args():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adamw", lr=3e-3, activation="gelu", init="default", norm="layer",
        norms=["none", "layer"], depth=2, width=48, batch_size=32, val_share=0.1,
    )  # fmt: skip
    parser.add_argument("--steps", type=count, default=300, help="optimizer steps; ten lines are printed")
    parser.add_argument("--no-skip", action="store_true", help="leave out the skip connections")
    args = parse(parser)
    if args.width % HEADS:
        parser.error(f"--width must be a multiple of {HEADS}, the number of heads, got {args.width}")
    return args


def main():
    args = get_args()
    torch.manual_seed(args.seed)
    train_text, val_text = make_text(args.val_share, args.seed)
    characters = sorted(set(train_text + val_text))
    ids = {c: i for i, c in enumerate(characters)}
    train_ids, val_ids = (torch.tensor([ids[c] for c in t]) for t in (train_text, val_text))

    model = Transformer(len(characters), args.depth, args.width, args.activation, args.norm, skip=not args.no_skip)
    initialise(model, args.init)
    optimizer = make_optimizer(args.optimizer, model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    every = max(1, args.steps // 10)
    for done in range(0, args.steps, every):
        steps = min(every, args.steps - done)
        train_loss = train(model, optimizer, train_ids, args, steps)
        val_loss, val_accuracy = validate(model, val_ids)
        print(
            f"step {done + steps:5d}  train loss {train_loss:.4f}"
            f"  val loss {val_loss:.4f}  val accuracy {val_accuracy:.4f}",
            flush=True,
        )
    if args.save:
        torch.save(model.state_dict(), args.save)


if __name__ == "__main__":
    main()
