"""Keras 2's optimizers, of its newer kind and its older one: what a step of one applies, and by which settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tf_keras.src.mixed_precision.loss_scale_optimizer import BaseLossScaleOptimizer, LossScaleOptimizer
from tf_keras.src.mixed_precision.loss_scale_optimizer import LossScaleOptimizerV3 as NewLossScaleOptimizer
from tf_keras.src.optimizers.legacy.optimizer_v2 import OptimizerV2
from tf_keras.src.optimizers.optimizer import Optimizer, _BaseOptimizer
from tf_keras.src.optimizers.schedules.learning_rate_schedule import LearningRateSchedule

#: Every class that has an `apply_gradients` of its own.
CLASSES = (_BaseOptimizer, Optimizer, OptimizerV2, LossScaleOptimizer, NewLossScaleOptimizer)


@dataclass(frozen=True)
class Core:
    """The optimizer itself, without a loss scaler around it."""

    optimizer: Any
    scaler: Any | None

    @classmethod
    def of(cls, optimizer: Any) -> Core:
        if isinstance(optimizer, BaseLossScaleOptimizer):
            return cls(optimizer.inner_optimizer, optimizer)
        return cls(optimizer, None)

    @property
    def is_old(self) -> bool:
        return isinstance(self.optimizer, OptimizerV2)

    def build(self, variables: Sequence[Any]) -> None:
        """As the old kind's `apply_gradients` would at once: without it there is no learning rate to read."""
        if self.is_old:
            with tf.name_scope(self.optimizer._name), tf.init_scope():
                self.optimizer._create_all_weights(variables)

    def learning_rate(self) -> Any:
        """That of the step to come."""
        if self.is_old:
            return self.optimizer._decayed_lr(tf.float32)
        rate = self.optimizer._learning_rate
        return rate(self.optimizer.iterations) if isinstance(rate, LearningRateSchedule) else tf.convert_to_tensor(rate)

    def loss_scale(self) -> Any:
        return 1.0 if self.scaler is None else tf.cast(self.scaler.loss_scale, tf.float32)

    def config(self) -> dict[str, Any]:
        """Its settings; what is a variable by its value now, which cannot be read in a trace."""
        with tf.init_scope():
            config: dict[str, Any] = self.optimizer.get_config()
        return config

    def limit(self, name: str) -> float | None:
        """`clipnorm`, `global_clipnorm` or `clipvalue`; None where it is off."""
        value = getattr(self.optimizer, name, None)
        return float(value) if value else None

    def moments(self, variables: Sequence[Any]) -> list[Any] | None:
        """After a step: (bias-corrected second moment, its floor) of each variable; None without such."""
        found = self._second_moments(variables)
        if found is None:
            return None
        beta, epsilon = self.config()["beta_2"], self.config().get("epsilon", 1e-7)
        correction = tf.maximum(1.0 - tf.pow(float(beta), tf.cast(self.optimizer.iterations, tf.float32)), 1e-7)
        return [(tf.cast(v, tf.float32) / correction, float(epsilon) ** 2) for v in found]

    def _second_moments(self, variables: Sequence[Any]) -> list[Any] | None:
        if "beta_2" not in self.config():
            return None
        if self.is_old:
            if "v" not in self.optimizer.get_slot_names():
                return None
            return [self.optimizer.get_slot(v, "v") for v in variables]
        held = getattr(self.optimizer, "_velocities", None)
        if not held:
            return None
        return [held[self.optimizer._index_dict[self.optimizer._var_key(v)]] for v in variables]
