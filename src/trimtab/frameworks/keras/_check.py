"""Whether the hook points that we rely on are there in the installed Keras."""

from __future__ import annotations

import keras
from keras.src.callbacks.callback_list import CallbackList
from keras.src.optimizers.base_optimizer import BaseOptimizer
from keras.src.trainers.trainer import Trainer

_PLACES = (
    ("optimizer steps", BaseOptimizer, "apply"),
    ("optimizer steps, scaled", keras.optimizers.LossScaleOptimizer, "apply"),
    ("optimizer steps, without state", BaseOptimizer, "stateless_apply"),
    ("optimizer's variables", BaseOptimizer, "build"),
    ("optimizer's clip", BaseOptimizer, "_clip_gradients"),
    ("scaled loss", BaseOptimizer, "scale_loss"),
    ("training function", Trainer, "make_train_function"),
    ("loss of a batch", Trainer, "compute_loss"),
    ("metrics of an epoch", CallbackList, "on_epoch_end"),
    ("layer outputs", keras.Layer, "__call__"),
)


def check_hook_points() -> list[tuple[str, bool, str]]:
    """(name, is it there, detail) for each."""
    places = [(name, hasattr(owner, attribute), attribute) for name, owner, attribute in _PLACES]
    return [("keras", True, f"{keras.__version__}, backend {keras.backend.backend()}"), *places]
