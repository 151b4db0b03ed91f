"""The dearer quantities of a sampled step, inside of it, in operations that every backend has under the same name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ._layout import UNMEASURED

OF_GRADIENTS = ("grad_max", "grad_nonfinite", "grad_zeros")
QUANTITIES = (*OF_GRADIENTS, "weight_norm", "update_norm", "lost_updates")
WITH_MOMENTS = (*QUANTITIES, "g2_over_v")
Norms = Callable[[list[Any]], Any]

#: Weights of at most so many bytes are kept from before a step to after it, where it may be sampled.
KEPT_BYTES = 64 << 20


def kept(variables: Sequence[Any], read: Callable[[Any], Any]) -> list[Any]:
    """What `read` gives of each variable; None of those for which there is no room."""
    room, values = KEPT_BYTES, []
    for variable in variables:
        room -= math.prod(int(n) for n in variable.shape) * 4
        values.append(read(variable) if room >= 0 else None)
    return values


@dataclass(frozen=True)
class Measures:
    """`ops` has array functions with Keras' names; `norms` gives the 2-norms of a list of tensors."""

    ops: Any
    norms: Norms

    def measure(
        self,
        raw: Sequence[Any],
        applied: Sequence[Any],
        before: Sequence[Any],
        after: Sequence[Any],
        moments: Sequence[Any] | None,
    ) -> Any:
        """The quantities of QUANTITIES, or of WITH_MOMENTS where `moments` are given, of every tensor, float32 of one
        axis.

        `before` and `after` are weights; of one that is None before, the norm is that after the step. `moments` are
        bias-corrected second moments, each with the least value that it is taken for.
        """
        given = [self._dense(g) for g in applied]
        columns = [
            self.of_gradients(raw, applied),
            self.norms([a if b is None else b for b, a in zip(before, after, strict=True)]),
            self._of_changed(before, after),
            [self._share_lost(b, a, g) for b, a, g in zip(before, after, given, strict=True)],
        ]
        if moments is not None:
            columns.append([self._g2_over_v(g, v) for g, v in zip(given, moments, strict=True)])
        return self.ops.concatenate([c if not isinstance(c, list) else self.ops.stack(c) for c in columns])

    def of_gradients(self, raw: Sequence[Any], applied: Sequence[Any]) -> Any:
        """The quantities of OF_GRADIENTS alone."""
        dense, given = [self._dense(g) for g in raw], [self._dense(g) for g in applied]
        columns = [
            [self._largest(g) for g in given],
            [self._count(self.ops.logical_not(self.ops.isfinite(g))) for g in dense],
            [self._count(self.ops.equal(g, 0)) for g in given],
        ]
        return self.ops.concatenate([self.ops.stack(column) for column in columns])

    def _float32(self, x: Any) -> Any:
        return self.ops.cast(x, "float32")

    def _of_changed(self, before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
        changes = self.norms([self.ops.subtract(a, b) for b, a in zip(before, after, strict=True) if b is not None])
        found = iter(range(len(before)))
        return [self._float32(UNMEASURED) if b is None else changes[next(found)] for b in before]

    def _dense(self, gradient: Any) -> Any:
        if hasattr(gradient, "todense"):
            gradient = gradient.todense()
        return self._float32(self.ops.convert_to_tensor(gradient))

    def _largest(self, x: Any) -> Any:
        """Largest |x|; NaN where an entry is."""
        high = self.ops.max(self.ops.abs(x))
        return self.ops.where(self.ops.any(self.ops.isnan(x)), self._float32(float("nan")), high)

    def _count(self, flags: Any) -> Any:
        return self.ops.sum(self._float32(flags))

    def _share_lost(self, before: Any, after: Any, gradient: Any) -> Any:
        """Of the entries with a gradient, the share that the step left exactly as they were."""
        if before is None:
            return self._float32(UNMEASURED)
        has_gradient = self.ops.not_equal(gradient, 0)
        lost = self._count(self.ops.logical_and(self.ops.equal(before, after), has_gradient))
        count = self._count(has_gradient)
        return self.ops.where(count > 0, lost / self.ops.maximum(count, 1.0), self._float32(UNMEASURED))

    def _g2_over_v(self, gradient: Any, moment: Any) -> Any:
        """sqrt(mean(g^2 / v_hat)), the floor of v_hat being epsilon^2. Source: Wortsman et al. 2023, arXiv:2304.13013,
        sec. 3.4."""
        if moment is None:
            return self._float32(UNMEASURED)
        v_hat, floor = moment
        return self.ops.sqrt(self.ops.mean(self.ops.square(gradient) / self.ops.maximum(self._float32(v_hat), floor)))
