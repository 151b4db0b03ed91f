"""What a guard did, on its way to the record; and to stderr, where it acts for the first time or all is lost.

No framework: the numbers have arrived on the host.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from trimtab._language import speaking, t, users_language

from ._rows import total_norm

#: Names what cannot be seen: an event of the record, which `say_unguarded` says on stderr.
UNGUARDED = "a guarded training"
ONLY_TORCH = "policies act on torch.optim's optimizers only so far"
#: So many steps left out on end, and the training will not come back by itself.
HOPELESS = 50


class Acts(NamedTuple):
    """What the policies did to one step: `skipped[i]` and `scales[i]` are the i-th policy's.

    A scale is the least factor on any gradient, None for a policy that maps gradients entry by entry.
    """

    skipped: tuple[bool, ...]
    scales: tuple[float | None, ...]

    @property
    def skip(self) -> bool:
        """The step is left out."""
        return any(self.skipped)

    @property
    def nothing(self) -> bool:
        """The step is as it would be without."""
        return not any(self.skipped) and all(scale == 1.0 for scale in self.scales)


class GuardLog:
    """Gathers what the guard of one optimizer does, and says it once on stderr.

    `policies`: their texts, in order.
    `weights_lost` says whether a weight is not finite; it is asked when the training looks hopeless.
    """

    def __init__(self, policies: Sequence[str], weights_lost: Callable[[], bool]) -> None:
        self._policies = tuple(policies)
        self._weights_lost = weights_lost
        self._rows: list[tuple[int, str, bool, float | None]] = []
        self._said: set[str] = set()
        self._skipped_last = -1
        self._skipped_since = -1

    def add(self, step: int, norms: np.ndarray[Any, Any], acts: Acts) -> None:
        """At this step the policies acted. `norms`: of the gradients before them."""
        for policy, skipped, scale in zip(self._policies, acts.skipped, acts.scales, strict=True):
            if not skipped and (scale == 1.0 or acts.skip):
                continue
            self._rows.append((step, policy, skipped, None if skipped else scale))
            if policy not in self._said:
                self._said.add(policy)
                self._say_first(step, policy, float(total_norm(norms[None])[0]), skipped, scale)
        if acts.skip:
            self._count_skip(step)

    def take(self, optimizer: int) -> dict[str, Any] | None:
        """Columns of the table `guard` for what was added since the last time; None where that is nothing."""
        rows, self._rows = self._rows, []
        if not rows:
            return None
        step, policy, skipped, scale = zip(*rows, strict=True)
        return {
            "optimizer": [optimizer] * len(rows),
            "step": list(step),
            "policy": list(policy),
            "skipped": list(skipped),
            "scale": list(scale),
        }

    def forget(self) -> None:
        """Nobody will take what was added."""
        self._rows.clear()

    def _count_skip(self, step: int) -> None:
        if step != self._skipped_last + 1 or self._skipped_since < 0:
            self._skipped_since = step
        self._skipped_last = step
        if step - self._skipped_since + 1 == HOPELESS:
            self._say_hopeless()

    def _say_first(self, step: int, policy: str, norm: float, skipped: bool, scale: float | None) -> None:
        with _speaking():
            if skipped:
                does = t("leaves out step {step} (gradient norm {norm:.3g})", step=step, norm=norm)
            elif scale is None:
                does = t("changes the gradients of step {step}", step=step)
            else:
                does = t(
                    "scales the gradient of step {step} by {scale:.3g} (norm {norm:.3g})",
                    step=step,
                    scale=scale,
                    norm=norm,
                )
            say(t("guard: {policy} {does}, for the first time", policy=policy, does=does))

    def _say_hopeless(self) -> None:
        first, count = self._skipped_since, HOPELESS
        with _speaking():
            why = (
                t("weights are not finite: they were lost before step {first}", first=first)
                if self._weights_lost()
                else t("the weights are finite still, but no gradient has been usable since step {first}", first=first)
            )
            say(
                t(
                    "guard: all of the last {count} steps were left out: {why}. No guard saves this training; "
                    "`trimtab show` says what went wrong",
                    count=count,
                    why=why,
                )
            )


def _speaking() -> contextlib.AbstractContextManager[None]:
    return speaking(users_language(sys.__stderr__))


def say_unguarded(why: str) -> None:
    """One line on stderr: policies were asked for, and none acts."""
    with _speaking():
        say(t("guard: {why}; the training goes on unguarded", why=why))


def say(sentence: str) -> None:
    """One line on stderr; of several ranks, which all do the same, one speaks."""
    if os.environ.get("TRIMTAB_QUIET") or os.environ.get("RANK", "0") != "0" or sys.__stderr__ is None:
        return
    with contextlib.suppress(Exception):
        sys.__stderr__.write(t("trimtab: {sentence}", sentence=sentence) + "\n")
        sys.__stderr__.flush()
