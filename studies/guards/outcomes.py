"""What "lost", "saved" and "cost" mean. Written down when the healthy runs without a policy were known, and no other.

A run's final loss is the median of the held-out losses at five steps of its last tenth, infinite if one is not finite.

Spread: per base, the standard deviation of log final loss over its healthy seeds without a policy.
Tolerance: a factor, exp(3 spread), at least 1.25. Two healthy runs that share nothing differ by sqrt(2) spreads: 49 of
50 lie within it of another.

Trained: a healthy run whose final loss is within the tolerance of its base's median. A seed that does not train without
any fault is left out of everything.
Lost: a planted run without a policy whose final loss is above that of its healthy twin (same seed, no fault, no policy)
by more than the tolerance.
Saved: a planted run under a policy, lost without it, whose final loss is within the tolerance of the twin's.
Cost: of a healthy run under a policy, its final loss over the twin's; the geometric mean over all pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from studies.calibration.statistics import Share

from .plan import Run
from .training import Result

SPREADS = 3.0
LEAST_FACTOR = 1.25


@dataclass(frozen=True)
class Yardstick:
    """Of one base: the median of its healthy final losses, the spread of their logs, the tolerated factor."""

    median: float
    spread: float
    factor: float


def yardstick(finals: Sequence[float], spreads: float = SPREADS) -> Yardstick:
    logs = np.log(finals)
    spread = float(logs.std(ddof=1)) if len(logs) > 1 else 0.0
    return Yardstick(float(np.median(finals)), spread, max(LEAST_FACTOR, math.exp(spreads * spread)))


@dataclass(frozen=True)
class Mean:
    """A geometric mean of `of` ratios with its 95 % t interval on their logs."""

    value: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        """ "1.02 (0.98 to 1.06)"."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})" if self.of > 1 else "none"


def geometric_mean(ratios: Sequence[float]) -> Mean:
    from scipy.stats import t  # type: ignore[import-untyped]

    if len(ratios) < 2:
        return Mean(math.nan, math.nan, math.nan, len(ratios))
    logs = np.log(ratios)
    middle = float(logs.mean())
    half = float(t.ppf(0.975, len(logs) - 1)) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Mean(math.exp(middle), math.exp(middle - half), math.exp(middle + half), len(logs))


class Outcomes:
    """All results, paired: each run with its twin, and with itself without the policy."""

    def __init__(self, results: Iterable[Result], spreads: float = SPREADS) -> None:
        self.results = {result.run: result for result in results}
        healthy: dict[str, list[float]] = {}
        for run, result in self.results.items():
            if not run.fault and not run.policy:
                healthy.setdefault(run.base, []).append(result.final)
        self.yardsticks = {base: yardstick(finals, spreads) for base, finals in healthy.items()}

    def trained(self, run: Run) -> bool:
        """Whether the run's twin trained."""
        measure, twin = self.yardsticks.get(run.base), self.results.get(run.twin)
        return measure is not None and twin is not None and twin.final <= measure.factor * measure.median

    def is_within(self, run: Run) -> bool:
        """Whether the run came within the tolerance of its twin."""
        return self.results[run].final <= self.yardsticks[run.base].factor * self.results[run.twin].final

    def lost(self) -> list[Run]:
        """The planted runs without a policy that are lost."""
        return [run for run in self.planted() if not self.is_within(run)]

    def planted(self) -> list[Run]:
        """The planted runs without a policy whose twin trained."""
        return [run for run in self.results if run.fault and not run.policy and self.trained(run)]

    def saved(self, policy: str, chosen: Callable[[Run], bool]) -> Share:
        """Of the chosen lost runs, those that the policy saves."""
        guarded = [replace(run, policy=policy) for run in self.lost() if chosen(run)]
        guarded = [run for run in guarded if run in self.results]
        return Share(sum(map(self.is_within, guarded)), len(guarded))

    def untouched(self, policy: str, chosen: Callable[[Run], bool]) -> Share:
        """Of the chosen runs, those that end bit for bit as without the policy."""
        guarded = [run for run in self.results if run.policy == policy and chosen(run) and self.trained(run)]
        same = (self.results[run].digest == self.results[run.unguarded].digest for run in guarded)
        return Share(sum(same), len(guarded))

    def healthy(self, policy: str) -> list[Run]:
        """The healthy runs under this policy whose twin trained."""
        return [run for run in self.results if run.policy == policy and not run.fault and self.trained(run)]

    def ruined(self, policy: str) -> Share:
        """Of the healthy runs, those that the policy takes beyond the tolerance."""
        runs = self.healthy(policy)
        return Share(sum(not self.is_within(run) for run in runs), len(runs))

    def cost(self, policy: str, chosen: Callable[[Run], bool] = lambda run: True) -> Mean:
        """Final loss over the twin's, on the chosen healthy runs."""
        runs = [run for run in self.healthy(policy) if chosen(run)]
        return geometric_mean([self.results[run].final / self.results[run.twin].final for run in runs])
