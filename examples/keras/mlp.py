"""A multi-layer perceptron with dropout that reads handwritten digits.

KERAS_BACKEND=tensorflow python examples/keras/mlp.py
... --init normal:1 --depth 10 --optimizer sgd --lr 0.01       blows up
... --activation sigmoid --depth 10                            vanishes
... --init constant:0.01 --dropout 0                           stalls
"""

import keras
import numpy as np
from keras import layers

from common import JIT, NORMS, EpochLine, augmentation, flags, initializer, make_optimizer, make_parser, parse
from data import digit_images


def make_model(args):
    model = keras.Sequential([keras.Input((8, 8, 1)), augmentation(args.augment), layers.Flatten()])
    for _ in range(args.depth):
        model.add(layers.Dense(args.width, kernel_initializer=initializer(args.init)))
        model.add(NORMS[args.norm]())
        model.add(layers.Activation(args.activation))
        model.add(layers.Dropout(args.dropout))
    model.add(layers.Dense(10, kernel_initializer=initializer(args.init)))
    return model


def main():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adam", lr=1e-3, activation="relu", init="he", norm="none",
        norms=NORMS, depth=3, width=128, batch_size=64, val_share=0.2,
    )  # fmt: skip
    parser.add_argument("--epochs", type=flags.count, default=20, help="passes over the training images")
    parser.add_argument("--augment", choices=["none", "rotate", "crop"], default="none", help="of the images")
    parser.add_argument("--dropout", type=flags.rate, default=0.2, help="share of the units left out")
    args = parse(parser)

    keras.utils.set_random_seed(args.seed)
    images, labels = digit_images(np.random.default_rng(args.seed))

    model = make_model(args)
    model.compile(
        optimizer=make_optimizer(args),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=JIT[args.jit],
    )
    model.fit(
        images,
        labels,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_split=args.val_share,
        callbacks=[EpochLine()],
        verbose=0,
    )
    if args.save:
        model.save(args.save)


if __name__ == "__main__":
    main()
