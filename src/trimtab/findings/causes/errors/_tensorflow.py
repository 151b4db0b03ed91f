"""Scripts written for TensorFlow 1."""

from __future__ import annotations

from ...._language import t
from ._keras import KERAS_2
from ._known_error import KnownError
from ._moved_names import TENSORFLOW_1
from ._spellings import OLD, gone, renamed

# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    KnownError(
        OLD,
        "AttributeError|ModuleNotFoundError",
        r"tensorflow.*\bcontrib'",
        lambda g: gone({"old": "tensorflow.contrib"}),
        line=r"\bxavier_initializer\b",
        turn=r"\bcontrib\.layers\.xavier_initializer\b",
        into="keras.initializers.GlorotUniform",
        tries=("tf.keras.initializers.GlorotUniform()",),
    ),
    KnownError(
        OLD,
        "AttributeError|ModuleNotFoundError",
        r"tensorflow.*\bcontrib'",
        lambda g: gone({"old": "tensorflow.contrib"}),
        line=r"\bslim\b",
        tries=("import tf_slim as slim",),
        also=("pip install tf-slim",),
    ),
    KnownError(
        OLD,
        "AttributeError|ModuleNotFoundError",
        r"'tensorflow(?:\.contrib|' has no attribute 'contrib)'",
        lambda g: gone({"old": "tensorflow.contrib"}),
    ),
    KnownError(
        OLD,
        "AttributeError",
        r"^module 'tensorflow' has no attribute 'enable_eager_execution'",
        lambda g: t("TensorFlow 2 runs eagerly by itself: the call can go"),
    ),
    KnownError(
        OLD,
        "TypeError",
        r"^Got an unexpected keyword argument '(?P<old>keep_dims|reduction_indices)'",
        renamed,
        names={"keep_dims": "keepdims", "reduction_indices": "axis"},
        turn=r"\b%(old)s(?=\s*=)",
        into="%(new)s",
        tries=("%(new)s=...",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        r"^`(?P<old>\w+)` is not available with Keras 3",
        lambda g: gone({"old": f"tf.layers.{g['old']}"}),
        tries=("tf.keras.layers.Dense(10)(x)",),
        also=KERAS_2,
    ),
    KnownError(
        OLD,
        "RuntimeError",
        r"^tf\.placeholder\(\) is not compatible with eager execution",
        lambda g: t("a placeholder belongs to a graph of TensorFlow 1"),
        tries=(TENSORFLOW_1,),
    ),
    KnownError(
        OLD,
        "RuntimeError",
        r"^tf\.gradients is not supported when eager execution is enabled",
        lambda g: renamed({"old": "tf.gradients", "new": "tf.GradientTape"}),
        tries=("with tf.GradientTape() as tape: ...; gradients = tape.gradient(loss, variables)",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        r"^'\w*Dataset' object has no attribute 'make_(?:one_shot|initializable)_iterator'",
        lambda g: t("a dataset is iterated over as it is"),
        tries=("for batch in dataset: ...",),
    ),
    KnownError(
        OLD,
        "ModuleNotFoundError",
        r"^No module named '(?:tensorflow\.)?keras\.layers\.experimental'",
        lambda g: renamed({"old": "keras.layers.experimental.preprocessing", "new": "keras.layers"}),
        turn=r"\.layers\.experimental\s+import\s+preprocessing\b",
        into=" import layers as preprocessing",
        tries=("from tensorflow.keras import layers as preprocessing",),
    ),
    KnownError(
        OLD,
        "ValueError",
        r"^A KerasTensor cannot be used as input to a TensorFlow function",
        lambda g: t("a TensorFlow function does not take what keras.Input gives; keras.ops has the like of it"),
        tries=("keras.ops.sum(x)  # keras.ops.* in place of tf.*",),
    ),
)
