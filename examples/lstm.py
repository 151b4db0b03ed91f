# The adding problem (Hochreiter and Schmidhuber 1997): a sequence of random numbers, two of them
# marked; the answer is the sum of the two. Who forgets the marked numbers can only answer 1,
# which costs a mean squared error of 1/6 = 0.1667.

# %% Settings
import torch
from torch import nn

from common import ACTIVATIONS, clip_gradients, count, initialise, make_optimizer, make_parser, number, parse, split

parser = make_parser(
    "A recurrent network on the adding problem.", optimizer="adam", lr=2e-2, clip="norm:1.0",
    activation="tanh", init="default", norm="none", norms=["none", "layer"], depth=1, width=48, batch_size=64,
    val_share=0.1,
)  # fmt: skip
parser.add_argument("--cell", choices=["lstm", "rnn"], default="lstm", help="rnn: h = activation(W x + U h)")
parser.add_argument("--forget-bias", type=number, default=1.0, help="of the LSTM's forget gates at the start")
parser.add_argument("--length", type=count, default=50, help="of the sequences")
parser.add_argument("--samples", type=count, default=10_000, help="sequences, for training and validation")
parser.add_argument("--steps", type=count, default=700, help="optimizer steps; ten lines are printed")
args = parse(parser)
if args.length < 2:
    parser.error(f"--length must be at least 2, for two marked numbers, got {args.length}")
if args.samples < 2:
    parser.error(f"--samples must be at least 2, got {args.samples}")
torch.manual_seed(args.seed)

# %% Data: x is (N, T, 2), numbers and marks; one mark lies in each half
half = args.length // 2
numbers = torch.rand(args.samples, args.length)
first = torch.randint(0, half, (args.samples, 1))
second = torch.randint(half, args.length, (args.samples, 1))
marks = torch.zeros(args.samples, args.length).scatter_(1, first, 1.0).scatter_(1, second, 1.0)
x = torch.stack([numbers, marks], dim=2)
y = (numbers * marks).sum(dim=1)

train, val = split(args.samples, args.val_share)
x_train, y_train = x[train], y[train]
x_val, y_val = x[val], y[val]


# %% Model
class RNN(nn.Module):
    """The plain recurrent layer, with any activation."""

    def __init__(self, n_in, n_hidden, activation):
        super().__init__()
        self.input = nn.Linear(n_in, n_hidden)
        self.recurrent = nn.Linear(n_hidden, n_hidden, bias=False)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x):
        inputs = self.input(x)
        h = torch.zeros_like(inputs[:, 0])
        outputs = []
        for t in range(x.shape[1]):
            h = self.activation(inputs[:, t] + self.recurrent(h))
            outputs.append(h)
        return torch.stack(outputs, dim=1)


class Adder(nn.Module):
    def __init__(self):
        super().__init__()
        if args.cell == "lstm":
            self.layers = nn.LSTM(2, args.width, num_layers=args.depth, batch_first=True)
        else:
            sizes = [2] + [args.width] * (args.depth - 1)
            self.layers = nn.Sequential(*(RNN(n, args.width, args.activation) for n in sizes))
        self.norm = nn.LayerNorm(args.width) if args.norm == "layer" else nn.Identity()
        self.head = nn.Sequential(
            nn.Linear(args.width, args.width), ACTIVATIONS[args.activation](), nn.Linear(args.width, 1)
        )

    def forward(self, x):
        outputs = self.layers(x)
        if args.cell == "lstm":
            outputs, _ = outputs
        return self.head(self.norm(outputs[:, -1])).squeeze(1)


model = Adder()
initialise(model, args.init)
with torch.no_grad():
    model.head[-1].bias.fill_(y_train.mean())  # start from the best constant answer
    if args.cell == "lstm":  # open the forget gates (Jozefowicz, Zaremba and Sutskever 2015)
        for layer in range(args.depth):
            getattr(model.layers, f"bias_hh_l{layer}")[args.width : 2 * args.width] = args.forget_bias
optimizer = make_optimizer(args.optimizer, model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
criterion = nn.MSELoss()

# %% Training
report_every = max(1, args.steps // 10)
order, losses = torch.empty(0, dtype=torch.long), []
for step in range(1, args.steps + 1):
    model.train()
    if len(order) == 0:
        order = torch.randperm(len(x_train))
    batch, order = order[: args.batch_size], order[args.batch_size :]

    def closure(batch=batch):
        optimizer.zero_grad()
        loss = criterion(model(x_train[batch]), y_train[batch])
        loss.backward()
        clip_gradients(model.parameters(), args.clip)
        return loss

    losses.append(optimizer.step(closure).item())

    if step % report_every == 0 or step == args.steps:
        model.eval()
        with torch.no_grad():
            answer = model(x_val)
            val_loss = criterion(answer, y_val).item()
            right = ((answer - y_val).abs() < 0.04).float().mean().item()  # the 1997 paper's criterion
        train_loss = sum(losses) / len(losses)
        losses = []
        print(
            f"step {step:5d}  train loss {train_loss:.4f}  val loss {val_loss:.4f}  val accuracy {right:.4f}",
            flush=True,
        )

if args.save:
    torch.save(model.state_dict(), args.save)
