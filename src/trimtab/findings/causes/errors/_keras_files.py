"""Files of Keras, whose endings are now fixed."""

from __future__ import annotations

from ...._language import t
from ._known_error import KnownError
from ._spellings import OLD, gone

# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    KnownError(
        OLD,
        "ValueError",
        r"^Invalid filepath extension for saving\.",
        lambda g: t("a model is saved to a file that ends in .keras"),
        turn=r"\.save\((['\"])([^'\"]*?)/?\1",
        into=r".save(\1\2.keras\1",
        tries=('model.save("model.keras")',),
        also=('model.export("model")  # a SavedModel, for serving only',),
    ),
    KnownError(
        OLD,
        "ValueError",
        r"^The `save_format` argument is deprecated in Keras 3",
        lambda g: t("a model is saved to a file that ends in .keras"),
        turn=r"\.save\((['\"])([^'\"]*?)/?(?:\.h5|\.tf)?\1\s*,\s*save_format\s*=\s*['\"]\w+['\"]",
        into=r".save(\1\2.keras\1",
        tries=('model.save("model.keras")',),
    ),
    KnownError(
        OLD,
        "ValueError",
        r"^The filename must end in `\.weights\.h5`",
        lambda g: t("a file of weights ends in .weights.h5"),
        turn=r"\.save_weights\((['\"])([^'\"]*?)(?:\.h5|\.hdf5|\.tf|\.ckpt|\.weights)?\1",
        into=r".save_weights(\1\2.weights.h5\1",
        tries=('model.save_weights("model.weights.h5")',),
    ),
    KnownError(
        OLD,
        "ValueError",
        r"the filepath provided must end in `\.weights\.h5`",
        lambda g: t("a file of weights ends in .weights.h5"),
        turn=r"ModelCheckpoint\((\w+\s*=\s*)?(['\"])([^'\"]*?)(?:\.h5|\.hdf5|\.tf|\.ckpt|\.weights)?\2",
        into=r"ModelCheckpoint(\1\2\3.weights.h5\2",
        tries=('keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True)',),
    ),
    KnownError(
        OLD,
        "ValueError",
        r"^The filepath provided must end in `\.keras`",
        lambda g: t("a model is saved to a file that ends in .keras"),
        turn=r"ModelCheckpoint\((\w+\s*=\s*)?(['\"])([^'\"]*?)(?:\.h5|\.hdf5|\.tf|\.ckpt)?\2",
        into=r"ModelCheckpoint(\1\2\3.keras\2",
        tries=('keras.callbacks.ModelCheckpoint("best.keras")',),
    ),
    KnownError(
        OLD,
        "TypeError",
        r"^ModelCheckpoint\.__init__\(\) got an unexpected keyword argument '(?P<old>period)'",
        gone,
        turn=r"\bperiod\s*=\s*[\w.]+",
        into='save_freq="epoch"',
        tries=('save_freq="epoch"',),
    ),
    KnownError(
        OLD,
        "ValueError",
        r"^File format not supported: filepath=",
        lambda g: t("Keras 3 loads no SavedModel; it can be called as a layer, but not trained"),
        turn=r"(?:\w+\.)*load_model\(([^(),]+)\)",
        into=r'keras.layers.TFSMLayer(\1, call_endpoint="serving_default")',
        tries=('keras.layers.TFSMLayer("model", call_endpoint="serving_default")',),
    ),
)
