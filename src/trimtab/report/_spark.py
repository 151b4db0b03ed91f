"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-:=+*#"
PARTS = " ▏▎▍▌▋▊▉█"
LOST, LOST_ASCII = "×", "x"
MANY_DECADES = 100.0  # a positive curve that spans more is drawn on a log scale
SPIKE = 0.25  # share of the range by which a bucket's extreme must leave its median to be drawn in its place


def sparkline(values: Sequence[float] | npt.NDArray[np.float64], width: int, *, ascii_only: bool = False) -> str:
    """One character per bucket of values; a spike or a dip inside a bucket is drawn, not averaged away.

    NaN and infinities are drawn as a cross where they fill a bucket, or are all that is at its end.

    >>> sparkline([1, 2, 3, 4], 4)
    '▁▃▆█'
    >>> sparkline([1, 1, 1, 9, 1, 1, 1, 1], 4)
    '▁█▁▁'
    """
    curve = np.asarray(values, dtype=np.float64)
    if not len(curve) or width < 1:
        return ""
    finite = curve[np.isfinite(curve)]
    blocks, cross = (ASCII, LOST_ASCII) if ascii_only else (BLOCKS, LOST)
    if not len(finite):
        return cross * min(width, len(curve))
    if float(finite.min()) > 0 and float(finite.max()) > MANY_DECADES * float(finite.min()):
        with np.errstate(all="ignore"):
            curve = np.log10(curve)
        finite = np.log10(finite)
    low, high = float(finite.min()), float(finite.max())
    drawn = [_drawn(bucket, high - low) for bucket in np.array_split(curve, min(width, len(curve)))]
    return "".join(cross if value is None else _block(value, low, high, blocks) for value in drawn)


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """A share of 1 as a bar of `width` characters, the rest of it dotted.

    >>> bar(0.55, 10)
    '█████▌····'
    """
    full = min(1.0, max(0.0, share)) * width
    if ascii_only:
        return f"{'#' * round(full):.<{width}}"
    whole = int(full)
    part = PARTS[int((full - whole) * 8)].strip()
    return f"{'█' * whole + part:·<{width}}"


def _drawn(bucket: npt.NDArray[np.float64], span: float) -> float | None:
    finite = bucket[np.isfinite(bucket)]
    if len(finite) * 2 < len(bucket) or not len(finite):
        return None
    middle = float(np.median(finite))
    extreme = max((float(finite.max()), float(finite.min())), key=lambda value: abs(value - middle))
    return extreme if abs(extreme - middle) > SPIKE * span else middle


def _block(value: float, low: float, high: float, blocks: str) -> str:
    if not high > low:
        return blocks[0]
    share = (value - low) / (high - low)
    return blocks[min(len(blocks) - 1, max(0, round(share * (len(blocks) - 1))))]
