"""A first network, and what makes its gradients explode: look at them, normalise them, train, evaluate.

Two hidden layers of 64 with dropout learn Friedman's function of 10 numbers (Friedman 1991, Annals of Statistics 19).

KERAS_BACKEND=tensorflow python examples/keras/first_network.py
... --init normal:1                                              large weights: large gradients
... --init normal:1 --depth 20                                   very large ones
... --raw-inputs                                                 inputs from 0 to 1, or to 10000
... --raw-targets                                                targets of some thousands
... --activation leaky_relu --optimizer sgd --lr 0.01 --raw-targets --clip none      nothing limits a step: NaN
... --optimizer sgd --lr 10 --clip none                          learning rate too large: NaN
... --activation sigmoid --init default --depth 10               gradients vanish, the other way to fail
"""

import keras
import numpy as np
from keras import layers
from sklearn.datasets import make_friedman1

from common import JIT, NORMS, flags, initializer, make_optimizer, make_parser, parse

UNITS = np.array([1, 1e4, 1, 1, 100, 1, 1e3, 1, 1, 10])  # of the raw inputs, as if each had been measured in its own


def make_data(args):
    """Inputs (N, 10) and targets (N, 1) for training and for the test; without --raw-*, of mean 0 and deviation 1."""
    x, y = make_friedman1(2500, n_features=10, noise=0.5, random_state=args.seed)
    x, y = x * UNITS, 1000 * y[:, None]
    if not args.raw_inputs:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
    if not args.raw_targets:
        y = (y - y.mean()) / y.std()
    x, y = x.astype("float32"), y.astype("float32")
    return x[:2000], y[:2000], x[2000:], y[2000:]


def make_model(args):
    model = keras.Sequential([keras.Input((10,))])
    for _ in range(args.depth):
        model.add(layers.Dense(args.width, kernel_initializer=initializer(args.init)))
        model.add(NORMS[args.norm]())
        model.add(layers.Activation(args.activation))
        model.add(layers.Dropout(args.dropout))
    model.add(layers.Dense(1, kernel_initializer=initializer(args.init)))
    return model


# --- gradients: the derivative of the loss by every weight, on each backend -----------------------


def tensorflow_gradients(model, loss_fn, x, y):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = loss_fn(y, model(x))
    return loss, tape.gradient(loss, model.trainable_variables)


def jax_gradients(model, loss_fn, x, y):
    import jax

    def loss_of(weights):
        outputs, _ = model.stateless_call(weights, rest, x)
        return loss_fn(y, outputs)

    rest = [v.value for v in model.non_trainable_variables]
    return jax.value_and_grad(loss_of)([v.value for v in model.trainable_variables])


def torch_gradients(model, loss_fn, x, y):
    model.zero_grad()
    loss = loss_fn(y, model(x))
    loss.backward()
    return loss.detach(), [v.value.grad for v in model.trainable_variables]


GRADIENTS = {"tensorflow": tensorflow_gradients, "jax": jax_gradients, "torch": torch_gradients}


def gradients_of(model, loss_fn, x, y):
    """The loss, and as NumPy arrays its gradients, one per trainable weight."""
    loss, gradients = GRADIENTS[keras.backend.backend()](model, loss_fn, x, y)
    return float(loss), [keras.ops.convert_to_numpy(g) for g in gradients]


def norm(gradients):
    """The length of all gradients laid end to end."""
    return np.sqrt(sum(np.sum(np.square(g, dtype="float64")) for g in gradients))


def normalise(gradients):
    """The same direction, of length 1."""
    length = norm(gradients)
    return [g / length for g in gradients]


def print_gradients(model, loss, gradients):
    print(f"loss {loss:.4g}, gradient of length {norm(gradients):.4g}, layer by layer:")
    print(f"{'weight':>20} {'shape':>10} {'length':>10} {'largest':>10} {'normalised':>10}")
    for weight, g, unit in zip(model.trainable_variables, gradients, normalise(gradients), strict=True):
        shape = " x ".join(map(str, weight.shape))
        print(f"{weight.path:>20} {shape:>10} {norm([g]):10.3g} {np.abs(g).max():10.3g} {norm([unit]):10.3g}")


# --- training -------------------------------------------------------------------------------------


def get_args():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adam", lr=2e-3, activation="relu", init="he", norm="none",
        norms=NORMS, depth=2, width=64, batch_size=32, val_share=0.1, clip="norm:1.0",
    )  # fmt: skip
    parser.add_argument("--epochs", type=flags.count, default=30, help="passes over the training data")
    parser.add_argument("--dropout", type=flags.rate, default=0.1, help="share of the units left out")
    parser.add_argument("--raw-inputs", action="store_true", help="leave the inputs in their units")
    parser.add_argument("--raw-targets", action="store_true", help="leave the targets in theirs")
    return parse(parser)


def main():
    args = get_args()
    keras.utils.set_random_seed(args.seed)
    x, y, test_x, test_y = make_data(args)
    model = make_model(args)

    print("before training:")
    print_gradients(model, *gradients_of(model, keras.losses.MeanSquaredError(), x, y))
    print("\ntraining:", flush=True)
    model.compile(
        optimizer=make_optimizer(args),
        loss="mean_squared_error",
        metrics=[keras.metrics.R2Score(name="r2")],
        jit_compile=JIT[args.jit],
    )
    line = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: print(
            f"epoch {epoch + 1:3d}  train loss {logs['loss']:.4g}"
            f"  val loss {logs['val_loss']:.4g}  val r2 {logs['val_r2']:.4f}",
            flush=True,
        )
    )
    model.fit(
        x,
        y,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_split=args.val_share,
        callbacks=[line],
        verbose=0,
    )
    print("\nafter training:")
    print_gradients(model, *gradients_of(model, keras.losses.MeanSquaredError(), x, y))
    loss, r2 = model.evaluate(test_x, test_y, verbose=0)
    print(f"\ntest loss {loss:.4g}  test r2 {r2:.4f}")
    if args.save:
        model.save(args.save)


if __name__ == "__main__":
    main()
