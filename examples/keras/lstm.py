# The adding problem (Hochreiter and Schmidhuber 1997) with train_on_batch: a sequence of random numbers, two
# of them marked; the answer is the sum of the two. Who forgets the marked numbers can only answer 1, which
# costs a mean squared error of 1/6 = 0.1667.
#
# KERAS_BACKEND=jax python examples/keras/lstm.py
# ... --cell rnn --activation relu --init normal:0.3 --clip none --optimizer sgd       blows up
# ... --cell rnn --init normal:0.05                                                    vanishes
# ... --lr 1e-4                                                                        stalls

# %% Settings
import keras
import numpy as np
from keras import layers, ops

from common import JIT, flags, initializer, make_optimizer, make_parser, parse
from data import adding_problem, for_training

parser = make_parser(
    "A recurrent network on the adding problem.", optimizer="adam", lr=2e-2, clip="norm:1.0",
    activation="tanh", init="default", norm="none", norms=["none", "layer"], depth=1, width=48, batch_size=64,
    val_share=0.1,
)  # fmt: skip
parser.add_argument("--cell", choices=["lstm", "rnn"], default="lstm", help="rnn: h = activation(W x + U h)")
parser.add_argument("--length", type=flags.count, default=50, help="of the sequences")
parser.add_argument("--samples", type=flags.count, default=10_000, help="sequences, for training and validation")
parser.add_argument("--steps", type=flags.count, default=700, help="optimizer steps; ten lines are printed")
args = parse(parser)
if args.length < 2:
    parser.error(f"--length must be at least 2, for two marked numbers, got {args.length}")
if args.samples < 2:
    parser.error(f"--samples must be at least 2, got {args.samples}")
keras.utils.set_random_seed(args.seed)
rng = np.random.default_rng(args.seed)

# %% Data: x is (N, T, 2), numbers and marks
x, y = adding_problem(args.samples, args.length, rng)
n = for_training(args.samples, args.val_share)
x_train, y_train = x[:n], y[:n]
x_val, y_val = x[n:], y[n:]


# %% Model
def right(y, answer):
    """The share of answers within 0.04, the 1997 paper's criterion."""
    return ops.mean(ops.abs(ops.subtract(answer, y)) < 0.04)


kernels = initializer(args.init)
inits = {"kernel_initializer": kernels, "recurrent_initializer": initializer(args.init, default="orthogonal")}
model = keras.Sequential([keras.Input((args.length, 2))])
for layer in range(args.depth):
    whole = layer < args.depth - 1  # the last layer hands on its last output only
    if args.cell == "lstm":
        model.add(layers.LSTM(args.width, return_sequences=whole, **inits))
    else:
        model.add(layers.SimpleRNN(args.width, args.activation, return_sequences=whole, **inits))
if args.norm == "layer":
    model.add(layers.LayerNormalization())
model.add(layers.Dense(args.width, args.activation, kernel_initializer=kernels))
best_constant = keras.initializers.Constant(y_train.mean())
model.add(layers.Dense(1, kernel_initializer=kernels, bias_initializer=best_constant))
model.compile(optimizer=make_optimizer(args), loss="mse", metrics=[right], jit_compile=JIT[args.jit])

# %% Training
report_every = max(1, args.steps // 10)
order, losses = np.empty(0, dtype=int), []
for step in range(1, args.steps + 1):
    if len(order) == 0:
        order = rng.permutation(n)
    batch, order = order[: args.batch_size], order[args.batch_size :]
    loss, _ = model.train_on_batch(x_train[batch], y_train[batch])
    losses.append(loss)

    if step % report_every == 0 or step == args.steps:
        val_loss, val_right = model.evaluate(x_val, y_val, batch_size=500, verbose=0)
        train_loss = np.mean(losses)
        losses = []
        print(
            f"step {step:5d}  train loss {train_loss:.4f}  val loss {val_loss:.4f}  val accuracy {val_right:.4f}",
            flush=True,
        )

if args.save:
    model.save(args.save)
