"""A small VGG (Simonyan and Zisserman 2014, arXiv:1409.1556) on handwritten digits, enlarged to 16 x 16.

The learning rate warms up over two epochs and falls to a half where the validation loss stays.

KERAS_BACKEND=jax python examples/keras/vgg.py
... --activation leaky_relu --init normal:1 --optimizer sgd --lr 0.1     blows up
... --activation sigmoid --depth 12                                      vanishes
... --optimizer momentum --lr 1                                          stalls
"""

import keras
import numpy as np
from keras import layers

from common import IMAGE_NORMS, JIT, EpochLine, augmentation, flags, initializer, make_optimizer, make_parser, parse
from data import digit_images, enlarge

STAGES = 3  # each ends with a pooling that halves the image: 16 -> 8 -> 4 -> 2
WARM_UP = 2  # epochs


def make_vgg(args):
    init = initializer(args.init)
    model = keras.Sequential([keras.Input((16, 16, 1)), augmentation(args.augment)])
    for stage in range(STAGES):
        for _ in range(args.depth // STAGES + (stage < args.depth % STAGES)):
            model.add(layers.Conv2D(args.width * 2**stage, 3, padding="same", kernel_initializer=init))
            model.add(IMAGE_NORMS[args.norm]())
            model.add(layers.Activation(args.activation))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation=args.activation, kernel_initializer=init))
    model.add(layers.Dense(10, kernel_initializer=init))
    return model


def warm_up(peak):
    """A schedule that reaches `peak` after WARM_UP epochs and leaves the learning rate alone from then on."""
    return lambda epoch, lr: peak * (epoch + 1) / WARM_UP if epoch < WARM_UP else lr


def main():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="adam", lr=2e-3, activation="relu", init="he", norm="none",
        norms=IMAGE_NORMS, depth=6, width=8, batch_size=64, val_share=0.2,
    )  # fmt: skip
    parser.add_argument("--epochs", type=flags.count, default=10, help="passes over the training images")
    parser.add_argument("--augment", choices=["none", "rotate", "crop"], default="none", help="of the images")
    args = parse(parser)

    keras.utils.set_random_seed(args.seed)
    images, labels = digit_images(np.random.default_rng(args.seed))

    model = make_vgg(args)
    model.compile(
        optimizer=make_optimizer(args),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=JIT[args.jit],
    )
    model.fit(
        enlarge(images, 16),
        labels,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_split=args.val_share,
        callbacks=[
            keras.callbacks.LearningRateScheduler(warm_up(args.lr)),
            keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=2),
            EpochLine(),
        ],
        verbose=0,
    )
    if args.save:
        model.save(args.save)


if __name__ == "__main__":
    main()
