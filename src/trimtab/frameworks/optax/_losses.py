"""optax's loss functions, where what they return is differentiated: what they were given."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from .._facts import Targets, labels_beyond, loss_facts
from .._facts._arrays import thin
from .._guard import Guard
from .._patches import Patches
from ..jax._scope import innermost, is_differentiating
from ..jax._tracing import JaxTracing

# Of larger outputs evenly spaced rows leave the step.
MAX_ENTRIES = 65_536
# Relative difference of one mean taken twice in float32.
SAME_MEAN = 1e-6
# Rows whose losses differ by less of their mean have the same mean whichever of them are counted.
ALIKE = 1e-3


class Kind(NamedTuple):
    """Our name of a loss function; whether its targets are class indices; what it multiplies the usual loss with."""

    name: str
    labels: bool = False
    factor: float = 1.0


KINDS = {
    "softmax_cross_entropy": Kind("cross_entropy"),
    "safe_softmax_cross_entropy": Kind("cross_entropy"),
    "softmax_cross_entropy_with_integer_labels": Kind("cross_entropy", labels=True),
    "sigmoid_binary_cross_entropy": Kind("bce_logits"),
    "squared_error": Kind("mse"),
    "l2_loss": Kind("mse", factor=0.5),
    "huber_loss": Kind("huber"),
    "kl_divergence": Kind("kl_div"),
}


class Given(NamedTuple):
    """What a loss function was given in one execution; arrays still on their way."""

    kind: Kind
    axis: int
    rows: int
    outputs: Any
    targets: Any
    returned: Any  # mean and standard deviation of what it returned

    def facts(self, seen: dict[str, Targets], loss: float) -> dict[str, Any]:
        """The row of `losses`, of a step with this loss.

        Where that is the mean of what the function returned, and the rows differ, the script has masked none of them.
        """
        outputs, targets = np.asarray(self.outputs), np.asarray(self.targets)
        facts = loss_facts(self.kind.name, outputs, targets, seen, axis=self.axis, labels=self.kind.labels)
        if "chance" in facts:
            facts["chance"] *= self.kind.factor
        mean, spread = map(float, self.returned)
        if "labels_seen" in facts and spread > ALIKE * abs(mean) and math.isclose(mean, loss, rel_tol=SAME_MEAN):
            facts["labels_beyond"] = labels_beyond(targets, facts["classes"])
        return facts | {"rows": self.rows}


class LossReader:
    """Has `arrived` called on the host with what a loss function was given, before the step that follows."""

    def __init__(self, guard: Guard, tracing: JaxTracing, arrived: Callable[[Given], None], hidden: Any) -> None:
        self._note = guard(self._put)
        self._tracing = tracing
        self._arrived = arrived
        self._hidden = hidden

    def attach(self, patches: Patches) -> None:
        for name, kind in KINDS.items():
            if hasattr(optax, name):
                watched = self._watched(getattr(optax, name), kind)
                for home in (optax, optax.losses):
                    if hasattr(home, name):
                        patches.replace(home, name, watched)

    def _watched(self, function: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def loss_function(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if is_differentiating():
                self._note(kind, signature.bind(*args, **kwargs).arguments, result)
            return result

        return loss_function

    def _put(self, kind: Kind, given: dict[str, Any], result: Any) -> None:
        outputs, targets, *_ = given.values()
        if len(given) < 2 or targets is None:
            return
        if innermost() is None:
            self._hidden()
            return
        outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
        axis = given.get("axis", -1)
        axis = axis if isinstance(axis, int) else -1
        rows = outputs.size // outputs.shape[axis] if kind.name == "cross_entropy" and outputs.ndim else outputs.size
        *few, result = self._tracing.apart([*_few(outputs, targets, axis % max(1, outputs.ndim)), result])
        returned = jnp.stack([jnp.mean(result), jnp.std(result)])
        self._tracing.put(_Receiver(self._arrived, kind, axis, rows), [*few, returned], ends_step=False)


class _Receiver:
    def __init__(self, arrived: Callable[[Given], None], kind: Kind, axis: int, rows: int) -> None:
        self._arrived = arrived
        self._what = (kind, axis, rows)

    def __call__(self, arrays: list[Any]) -> None:
        self._arrived(Given(*self._what, *arrays))


def _few(outputs: Any, targets: Any, axis: int) -> list[Any]:
    """At most about MAX_ENTRIES outputs, with the targets that belong to them."""
    if outputs.size <= MAX_ENTRIES:
        return [outputs, targets]
    slices = thin(outputs.shape, axis, MAX_ENTRIES)
    of_targets = slices if targets.ndim == outputs.ndim else tuple(s for d, s in enumerate(slices) if d != axis)
    return [outputs[slices], targets[of_targets[: targets.ndim]]]
