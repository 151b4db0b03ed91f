"""Shares with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054


def wilson(hits: int, of: int, z: float = Z95) -> tuple[float, float]:
    """The Wilson score interval of a share, in [0, 1]; (0, 1) of nothing.

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209-212.
    """
    if of == 0:
        return 0.0, 1.0
    p, w = hits / of, z * z / of
    centre = (p + w / 2) / (1 + w)
    half = math.sqrt(p * (1 - p) * w + w * w / 4) / (1 + w)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Share:
    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.hits, self.of)

    def __str__(self) -> str:
        """ "97 % (92 to 99; 58 of 60)"."""
        if not self.of:
            return "none"
        low, high = (_percent(bound) for bound in self.interval)
        return f"{_percent(self.value)} % ({low} to {high}; {self.hits} of {self.of})"


def _percent(share: float) -> str:
    number = 100 * share
    return f"{number:.1f}" if number < 9.95 and number % 1 else f"{number:.0f}"
