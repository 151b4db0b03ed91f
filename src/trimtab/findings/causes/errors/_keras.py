"""Scripts written for Keras 1 and 2."""

from __future__ import annotations

from ...._language import t
from ._known_error import Groups, KnownError
from ._spellings import ARGUMENTS, OLD, gone, renamed

_KERAS_MODELS = "(?:Sequential|Functional|Model)"
_KERAS_OPTIMIZERS = "(?:Adam|AdamW|SGD|RMSprop|Nadam|Adamax|Adagrad|Adadelta|Ftrl|LossScaleOptimizer)"
_KERAS_LAYERS = (
    r"(?:Dense|Conv[123]D|(?:Separable|Depthwise)Conv[12]D|(?:Max|Average)Pooling[123]D|LSTM|GRU|SimpleRNN|Embedding"
    r"|BatchNormalization|Model|Functional|Sequential)"
)
_LEGACY = r"^`keras\.optimizers\.legacy` is not supported in Keras 3"
KERAS_2 = ("TF_USE_LEGACY_KERAS=1  # with `pip install tf_keras`: the script runs on Keras 2",)
_TRAINER = r"(?:TensorFlow|JAX|Torch)?Trainer\.fit\(\)"


def _says_legacy(groups: Groups) -> str:
    return renamed({"old": "keras.optimizers.legacy", "new": "keras.optimizers"})


# The first row that matches counts.
ROWS: tuple[KnownError, ...] = (
    # Optimizers
    KnownError(
        OLD,
        "ValueError",
        r"^Argument\(s\) not recognized: \{'(?P<old>lr)'",
        lambda g: t("`lr` is now `learning_rate`, and `decay` has no effect any more: a schedule does its work"),
        line=r"\bdecay\s*=",
        turn=r"\blr\s*=\s*([^,()]+),\s*decay\s*=\s*([^,()]+)",
        into=r"learning_rate=keras.optimizers.schedules.InverseTimeDecay(\1, 1, \2)",
        tries=("SGD(learning_rate=keras.optimizers.schedules.InverseTimeDecay(0.01, decay_steps=1, decay_rate=1e-6))",),
    ),
    KnownError(
        OLD,
        "ValueError",
        r"^Argument\(s\) not recognized: \{'(?P<old>lr)'",
        renamed,
        names=ARGUMENTS,
        turn=r"\blr(?=\s*=[^=])",
        into="learning_rate",
        tries=("Adam(learning_rate=0.001)",),
    ),
    KnownError(
        OLD,
        "ImportError",
        _LEGACY,
        _says_legacy,
        line=r"(?<![.\w])(?P<kind>[A-Z]\w+)\(",
        tries=("from keras.optimizers import %(kind)s",),
        also=KERAS_2,
    ),
    KnownError(
        OLD,
        "ImportError",
        _LEGACY,
        _says_legacy,
        turn=r"\boptimizers\.legacy\.",
        into="optimizers.",
        tries=("from keras.optimizers import Adam",),
        also=KERAS_2,
    ),
    KnownError(
        OLD,
        "ValueError",
        r"^(?P<old>decay|lr) is deprecated in the new (?:TF-)?Keras optimizer",
        lambda g: t("`{old}` is no longer taken by this optimizer", old=g["old"]),
        turn=r"\boptimizers\.(?!legacy)",
        into="optimizers.legacy.",
        tries=("tf.keras.optimizers.legacy.Adam(learning_rate=0.001, decay=1e-6)",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        rf"^'{_KERAS_OPTIMIZERS}' object has no attribute '(?P<old>lr)'",
        renamed,
        names=ARGUMENTS,
        turn=r"(?<=\w)\.lr\b",
        into=".learning_rate",
        tries=("optimizer.learning_rate",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        rf"^'{_KERAS_OPTIMIZERS}' object has no attribute '(?P<old>minimize)'",
        lambda g: t("a Keras optimizer has no `{old}` any more", old=g["old"]),
        tries=("optimizer.apply(tape.gradient(loss, variables), variables)",),
    ),
    KnownError(
        OLD,
        "AttributeError",
        rf"^'{_KERAS_OPTIMIZERS}' object has no attribute '(?P<old>get_gradients)'",
        lambda g: t("a Keras optimizer has no `{old}` any more", old=g["old"]),
        tries=("tape.gradient(loss, variables)",),
    ),
    # Models
    *(
        KnownError(
            OLD,
            "AttributeError",
            rf"^'\w+' object has no attribute '(?P<old>{old})'",
            renamed,
            names={old: new},
            turn=r"(?<=\w)\.%(old)s(?=\()",
            into=".%(new)s",
            tries=(f"model.{new}(generator)",),
        )
        for old, new in (("fit_generator", "fit"), ("evaluate_generator", "evaluate"), ("predict_generator", "predict"))
    ),
    KnownError(
        OLD,
        "AttributeError",
        rf"^'{_KERAS_MODELS}' object has no attribute 'predict_classes'",
        lambda g: gone({"old": "predict_classes"}),
        turn=r"([A-Za-z_][\w.]*)\.predict_classes\(([^()]*)\)",
        into=r"\1.predict(\2).argmax(axis=-1)",
        tries=("model.predict(x).argmax(axis=-1)",),
        also=('(model.predict(x) > 0.5).astype("int32")  # of a single sigmoid',),
    ),
    KnownError(
        OLD,
        "AttributeError",
        rf"^'{_KERAS_MODELS}' object has no attribute '(?P<old>predict_proba)'",
        renamed,
        names={"predict_proba": "predict"},
        turn=r"(?<=\w)\.predict_proba(?=\()",
        into=".predict",
        tries=("model.predict(x)",),
    ),
    KnownError(
        OLD,
        "TypeError",
        rf"^{_TRAINER} got an unexpected keyword argument '(?P<old>nb_epoch)'",
        renamed,
        names=ARGUMENTS,
        turn=r"\bnb_epoch(?=\s*=)",
        into="epochs",
        tries=("model.fit(x, y, epochs=10)",),
    ),
    KnownError(
        OLD,
        "TypeError",
        rf"^{_TRAINER} got an unexpected keyword argument '(?P<old>workers|use_multiprocessing|max_queue_size)'",
        lambda g: t("`fit` has no `{old}` any more; a `keras.utils.PyDataset` takes it", old=g["old"]),
        turn=r"(?:,\s*(?:workers|use_multiprocessing|max_queue_size)\s*=\s*[\w.]+)+(?=\s*[,)])",
        into="",
        tries=("model.fit(x, y)",),
    ),
    KnownError(
        OLD,
        "KeyError",
        r"^'(?P<old>(?:val_)?acc)'$",
        renamed,
        names={"acc": "accuracy", "val_acc": "val_accuracy"},
        line=r"\bhist\w*\b.*\[",
        turn=r"(?<=\[['\"])%(old)s(?=['\"]\])",
        into="%(new)s",
        tries=("history.history['%(new)s']",),
    ),
    KnownError(
        OLD,
        "ValueError",
        rf"^Unrecognized keyword arguments passed to {_KERAS_LAYERS}: \{{'batch_input_shape'",
        lambda g: gone({"old": "batch_input_shape"}),
        tries=("keras.Input(batch_shape=(32, 10, 8))  # as the first layer",),
    ),
    KnownError(
        OLD,
        "ValueError",
        rf"^Unrecognized keyword arguments passed to {_KERAS_LAYERS}: \{{'(?P<old>\w+)'",
        renamed,
        names=ARGUMENTS,
        turn=r"\b%(old)s(?=\s*=[^=])",
        into="%(new)s",
        tries=("%(new)s=...",),
    ),
)
