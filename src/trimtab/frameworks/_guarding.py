"""What a guard did, on its way to the record; and to stderr, where it acts for the first time or all is lost.

No framework: the numbers have arrived on the host.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from trimtab._language import speaking, t, users_language

from ._rows import total_norm

#: Names what cannot be seen: an event of the record, which `say_unguarded` says on stderr.
UNGUARDED = "a guarded training"
WHO_IS = "policies act on the optimizers of torch.optim, of Keras on TensorFlow and JAX, and of optax"
#: So many steps left out on end, and the training will not come back by itself.
HOPELESS = 50


class Recovered(NamedTuple):
    """What a policy on the host did before one step.

    `lr_scale`: its factor on the learning rates. `back_to`: weights and state are those from before that step, None
    where they did not go back. `rests`: the step was left out on purpose. `gave_up`: it will go back no more.
    """

    lr_scale: float = 1.0
    back_to: int | None = None
    rests: bool = False
    gave_up: bool = False


NOT_RECOVERED = Recovered()


class Acts(NamedTuple):
    """What the policies did to one step: `skipped[i]` and `scales[i]` are the i-th policy's.

    A scale is the least factor on any gradient, None for a policy that maps gradients entry by entry. `recovered`: the
    same of policies on the host; empty where there are none.
    """

    skipped: tuple[bool, ...]
    scales: tuple[float | None, ...]
    recovered: tuple[Recovered, ...] = ()

    @property
    def skip(self) -> bool:
        """The step is left out."""
        return any(self.skipped)

    @property
    def nothing(self) -> bool:
        """The step is as it would be without."""
        return (
            not any(self.skipped)
            and all(scale == 1.0 for scale in self.scales)
            and all(done == NOT_RECOVERED for done in self.recovered)
        )


def acts_of(values: np.ndarray[Any, Any]) -> Acts:
    """From what a traced step has handed out: whether each policy skipped, then the least factor of each, NaN for one
    that maps gradients. Of policies that would all leave out the step, the first one did."""
    skips, factors = np.split(values, 2)
    first = int(np.argmax(skips)) if skips.any() else -1
    skipped = tuple(place == first for place in range(len(skips)))
    return Acts(skipped, tuple(None if math.isnan(factor) else float(factor) for factor in factors))


class GuardLog:
    """Gathers what the guard of one optimizer does, and says it once on stderr.

    `policies`: their texts, in order.
    `weights_lost` says whether a weight is not finite; it is asked when the training looks hopeless.
    """

    def __init__(self, policies: Sequence[str], weights_lost: Callable[[], bool]) -> None:
        self._policies = tuple(policies)
        self._weights_lost = weights_lost
        self._rows: list[tuple[int, str, bool, float | None, float | None, int | None]] = []
        self._said: set[str] = set()
        self._skipped_last = -1
        self._skipped_since = -1

    @property
    def policies(self) -> tuple[str, ...]:
        return self._policies

    def add(self, step: int, norms: np.ndarray[Any, Any], acts: Acts) -> None:
        """At this step the policies acted. `norms`: of the gradients before them."""
        recovered = acts.recovered or (NOT_RECOVERED,) * len(self._policies)
        for policy, skipped, scale, done in zip(self._policies, acts.skipped, acts.scales, recovered, strict=True):
            if done.gave_up:
                self._say_given_up(step, policy)
            if not skipped and done.back_to is None and (acts.skip or (scale == 1.0 and done.lr_scale == 1.0)):
                continue
            on_lr = None if skipped or done.lr_scale == 1.0 else done.lr_scale
            on_gradient = None if skipped or on_lr is not None or done.back_to is not None else scale
            self._rows.append((step, policy, skipped, on_gradient, on_lr, done.back_to))
            if policy not in self._said or done.back_to is not None:
                self._said.add(policy)
                self._say(step, policy, float(total_norm(norms[None])[0]), skipped, scale, done)
        if any(done.rests for done in recovered):
            self._skipped_since = -1  # no sign that anything is lost
        elif acts.skip:
            self._count_skip(step)

    def take(self, optimizer: int) -> dict[str, Any] | None:
        """Columns of the table `guard` for what was added since the last time; None where that is nothing."""
        rows, self._rows = self._rows, []
        if not rows:
            return None
        step, policy, skipped, scale, lr_scale, back_to = zip(*rows, strict=True)
        return {
            "optimizer": [optimizer] * len(rows),
            "step": list(step),
            "policy": list(policy),
            "skipped": list(skipped),
            "scale": list(scale),
            "lr_scale": list(lr_scale),
            "back_to": list(back_to),
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

    def _say(self, step: int, policy: str, norm: float, skipped: bool, scale: float | None, done: Recovered) -> None:
        """Of a return each time, of everything else the first time."""
        with _speaking():
            if done.back_to is not None:
                say(
                    t(
                        "guard: {policy} goes back from step {step} to weights and optimizer state from before step "
                        "{then} (gradient norm {norm:.3g})",
                        policy=policy,
                        step=step,
                        then=done.back_to,
                        norm=norm,
                    )
                )
                return
            if skipped:
                does = t("leaves out step {step} (gradient norm {norm:.3g})", step=step, norm=norm)
            elif done.lr_scale != 1.0:
                does = t("multiplies the learning rate of step {step} by {scale:.3g}", step=step, scale=done.lr_scale)
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

    def _say_given_up(self, step: int, policy: str) -> None:
        with _speaking():
            say(
                t(
                    "guard: {policy} gives up at step {step}: it has gone back as often as its limit allows, and the "
                    "weights are at fault again. The training goes on as it is; `trimtab show` says what went wrong",
                    policy=policy,
                    step=step,
                )
            )

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


def say_less(why: str) -> None:
    """One line on stderr: some of the policies that were asked for do not act."""
    with _speaking():
        say(t("guard: {why}; the other policies act", why=why))


def say(sentence: str) -> None:
    """One line on stderr; of several ranks, which all do the same, one speaks."""
    if os.environ.get("TRIMTAB_QUIET") or os.environ.get("RANK", "0") != "0" or sys.__stderr__ is None:
        return
    with contextlib.suppress(Exception):
        sys.__stderr__.write(t("trimtab: {sentence}", sentence=sentence) + "\n")
        sys.__stderr__.flush()
