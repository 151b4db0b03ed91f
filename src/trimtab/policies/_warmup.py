"""warmup=100: the first steps are short."""

from __future__ import annotations

from ._policy import Decision, Policy, Recovery, State, Vitals
from ._settings import whole
from ._xp import Namespace


def warmup(steps: int = 100) -> Policy:
    """Let the learning rate rise to its own value over the first steps.

    In step k, from 0 on, whatever the script's schedule gives:

        lr <- lr * min(1, (k + 1) / steps)

    Typed as `warmup=100`. The same as `LambdaLR(optimizer, lambda k: min(1, (k + 1) / steps))`, to the bit, but on top
    of a schedule of the script: the factor is in the parameter groups during the step only.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 2.2 (gradual warm-up). Default: 100 steps, set by hand; for
    Adam Ma and Yarats 2021, arXiv:1910.04209, have 2 / (1 - beta2), which is 2,000 at 0.999.
    Departures: it starts at lr / steps, not at the rate of a smaller batch. Like a schedule it counts all steps, left
    out or not. A gradient that is not finite is left out.
    """
    steps = whole("steps", steps, 1)

    def start(tensors: int, xp: Namespace) -> State:
        return (0,)

    def decide(state: State, vitals: Vitals, xp: Namespace) -> tuple[State, Decision]:
        scale = min(1.0, (state[0] + 1) / steps)
        return (min(state[0] + 1, steps),), Decision(not vitals.all_finite, recovery=Recovery(lr_scale=scale))

    def returned(now: State, then: State) -> State:
        return now

    return Policy(f"warmup={steps}", decide, start, needs=frozenset(), on_host=True, returned=returned)
