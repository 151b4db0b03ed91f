"""Numbers as people read them."""

from __future__ import annotations

import math

from .._language import counted, t


def number(value: float) -> str:
    """Three significant digits, plain between 0.001 and a million, else with an exponent: 0.214, 12,400, 3.1e-08."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 999_500 or size < 0.001:
        return f"{value:.1e}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"


def decades(log10: float) -> str:
    """A factor given by its decimal logarithm: "10^-9.4", "×0.31" where it is less than a decade."""
    return f"×{10.0**log10:.2g}" if abs(log10) < 1 else f"10^{log10:.1f}"


def fold(log10: float) -> str:
    """How many times larger or smaller, from the decimal logarithm of either: "31,000 times", "10^7.1 times"."""
    size = abs(log10)
    factor = f"{float(f'{10.0**size:.2g}'):,.0f}" if 1 <= size < 6 else f"10^{size:.1f}"
    return t("{factor} times", factor=factor)


def plural(count: int, noun: str) -> str:
    return counted(count, noun)


def listed(names: list[str], limit: int = 3) -> str:
    """ "a, b, c and 12 more"."""
    rest = len(names) - limit
    first = ", ".join(names[:limit])
    return t("{first} and {rest} more", first=first, rest=rest) if rest > 0 else first
