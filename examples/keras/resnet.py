"""A small residual network (He et al. 2015, arXiv:1512.03385) on handwritten digits, with a cosine schedule.

KERAS_BACKEND=torch python examples/keras/resnet.py
... --norm none --init he --depth 30                                                    blows up
... --norm none --activation sigmoid --depth 12 --optimizer adam --lr 1e-3              vanishes
... --optimizer adadelta --lr 1e-3                                                      stalls
"""

import keras
import numpy as np
from keras import layers

from common import IMAGE_NORMS, JIT, EpochLine, augmentation, flags, initializer, make_optimizer, make_parser, parse
from data import digit_images


def block(x, channels, args):
    """Two convolutions and the shortcut around them; the activation comes after the sum."""
    init = initializer(args.init)
    stride = 1 if x.shape[-1] == channels else 2
    branch = layers.Conv2D(channels, 3, stride, padding="same", kernel_initializer=init)(x)
    branch = layers.Activation(args.activation)(IMAGE_NORMS[args.norm]()(branch))
    branch = layers.Conv2D(channels, 3, padding="same", kernel_initializer=init)(branch)
    branch = IMAGE_NORMS[args.norm]()(branch)
    if stride > 1:
        x = layers.Conv2D(channels, 1, stride, kernel_initializer=init)(x)
    return layers.Activation(args.activation)(layers.add([x, branch]))


def make_resnet(args):
    """`--depth` blocks; the second half of them works at half the resolution and twice the width."""
    inputs = keras.Input((8, 8, 1))
    x = augmentation(args.augment)(inputs)
    x = layers.Conv2D(args.width, 3, padding="same", kernel_initializer=initializer(args.init))(x)
    x = layers.Activation(args.activation)(IMAGE_NORMS[args.norm]()(x))
    for i in range(args.depth):
        x = block(x, args.width * (2 if i >= args.depth // 2 else 1), args)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=initializer(args.init))(x))


def main():
    parser = make_parser(
        __doc__.splitlines()[0], optimizer="nesterov", lr=0.02, activation="relu", init="default", norm="batch",
        norms=IMAGE_NORMS, depth=6, width=16, batch_size=64, val_share=0.2,
    )  # fmt: skip
    parser.add_argument("--epochs", type=flags.count, default=8, help="passes over the training images")
    parser.add_argument("--augment", choices=["none", "rotate", "crop"], default="none", help="of the images")
    args = parse(parser)

    keras.utils.set_random_seed(args.seed)
    images, labels = digit_images(np.random.default_rng(args.seed))
    steps = args.epochs * round(len(images) * (1 - args.val_share) / args.batch_size)

    model = make_resnet(args)
    model.compile(
        optimizer=make_optimizer(args, keras.optimizers.schedules.CosineDecay(args.lr, max(1, steps))),
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
