"""What the examples in Keras share: the tables behind the flags, and the line that each epoch prints."""

import sys
from pathlib import Path

import keras

sys.path.append(str(Path(__file__).resolve().parents[1]))
import flags

ACTIVATIONS = ["sigmoid", "tanh", "relu", "leaky_relu", "gelu"]

OPTIMIZERS = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda **kw: keras.optimizers.SGD(momentum=0.9, **kw),
    "nesterov": lambda **kw: keras.optimizers.SGD(momentum=0.9, nesterov=True, **kw),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "nadam": keras.optimizers.Nadam,
    "adamax": keras.optimizers.Adamax,
    "amsgrad": lambda **kw: keras.optimizers.Adam(amsgrad=True, **kw),
    "adagrad": keras.optimizers.Adagrad,
    "adadelta": keras.optimizers.Adadelta,
    "rmsprop": keras.optimizers.RMSprop,
}

INITIALIZERS = {
    "he": keras.initializers.HeNormal,
    "xavier": keras.initializers.GlorotNormal,
    "lecun": keras.initializers.LecunNormal,
    "orthogonal": keras.initializers.Orthogonal,
    "normal": lambda std: keras.initializers.RandomNormal(stddev=std),
    "constant": keras.initializers.Constant,
}

NORMS = {
    "none": keras.layers.Identity,
    "batch": lambda: keras.layers.BatchNormalization(momentum=0.9),  # these trainings are too short for 0.99
    "layer": keras.layers.LayerNormalization,
}
IMAGE_NORMS = {**NORMS, "layer": lambda: keras.layers.GroupNormalization(groups=1)}

CLIPS = {"norm": "global_clipnorm", "value": "clipvalue", "variable": "clipnorm"}
JIT = {"on": True, "off": False, "auto": "auto"}


def make_parser(description, **defaults):
    """The flags that every example has, with those of Keras."""
    parser = flags.make_parser(
        description, activations=ACTIVATIONS, optimizers=OPTIMIZERS, clips=list(CLIPS), **defaults
    )
    parser.add_argument("--jit", choices=JIT, default="auto", help="jit_compile")
    return parser


def parse(parser):
    args = parser.parse_args()
    if args.save and args.save.suffix != ".keras":
        parser.error(f"--save must end in .keras, got {args.save}")
    return args


def make_optimizer(args, learning_rate=None):
    """The optimizer of the flags; `learning_rate` may be a schedule in place of --lr."""
    settings = {"learning_rate": learning_rate or args.lr}
    kind, limit = args.clip
    if kind != "none":
        settings[CLIPS[kind]] = limit
    if args.weight_decay is not None:
        settings["weight_decay"] = args.weight_decay
    return OPTIMIZERS[args.optimizer](**settings)


def initializer(init, default="glorot_uniform"):
    """What a layer takes as `kernel_initializer`: ("normal", 0.1) -> RandomNormal(stddev=0.1)."""
    kind, value = init
    if kind == "default":
        return default
    return INITIALIZERS[kind]() if value is None else INITIALIZERS[kind](value)


def augmentation(how):
    """A layer that changes images in training: turns of up to 15 degrees, or shifts of up to an eighth."""
    if how == "rotate":
        return keras.layers.RandomRotation(15 / 360, fill_mode="constant")
    if how == "crop":
        return keras.layers.RandomTranslation(1 / 8, 1 / 8, fill_mode="constant")
    return keras.layers.Identity()


class EpochLine(keras.callbacks.Callback):
    """Prints a line per epoch: `epoch   1  train loss 1.2345  val loss 1.2345  val accuracy 0.1234`."""

    def on_epoch_end(self, epoch, logs):
        print(
            f"epoch {epoch + 1:3d}  train loss {logs['loss']:.4f}"
            f"  val loss {logs['val_loss']:.4f}  val accuracy {logs['val_accuracy']:.4f}",
            flush=True,
        )
