"""The figure of the page, as SVG: what each policy saves, and what it costs where nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from studies.calibration.figures import BLUE, GREY
from studies.calibration.statistics import Share

from .outcomes import Mean

LIGHT, DARK = (243, 247, 251), (0, 72, 130)  # one hue from light to dark: safe for the colour-blind
NAMES, CELL, ROW, TOP, GAP, SCALE, SAME = 190, 104, 34, 132, 40, 290, 110
TICKS = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.6, 2.0, 2.5, 3.0, 5.0, 10.0)


@dataclass(frozen=True)
class Row:
    """One policy: saved runs per fault, final loss of healthy runs over that without it, runs it leaves as they are."""

    policy: str
    saved: Sequence[Share]
    cost: Mean
    same: Share


def figure(title: str, faults: Sequence[str], rows: Sequence[Row]) -> str:
    left, ticks = NAMES + CELL * len(faults) + GAP, _ticks(rows)
    width, height = left + SCALE + SAME, TOP + ROW * len(rows) + 64
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="{escape(title)}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(14, 28, title, size=18, bold=True),
        *_heads(faults, left),
        *_axis(left, ticks, len(rows)),
    ]
    for i, row in enumerate(rows):
        y = TOP + ROW * i
        parts.append(_text(NAMES - 12, y + ROW / 2 + 4.5, row.policy, anchor="end"))
        for k, share in enumerate(row.saved):
            parts += _cell(share, NAMES + CELL * k, y)
        parts += _whisker(row.cost, left, ticks, y + ROW / 2)
        parts.append(_text(left + SCALE + SAME / 2, y + ROW / 2 + 4.5, f"{row.same.hits} of {row.same.of}", "middle"))
    parts += _legend(TOP + ROW * len(rows) + 26)
    return "\n".join([*parts, "</svg>", ""])


def _heads(faults: Sequence[str], left: float) -> list[str]:
    parts = [
        _text(NAMES, 58, "Runs saved, of those lost without a policy", bold=True),
        _text(left, 58, "Healthy runs: final loss over that without", bold=True),
        _text(left, 76, "a policy, with 95 % interval (right is worse)"),
        _text(left + SCALE + SAME / 2, 58, "unchanged", "middle", bold=True),
        _text(left + SCALE + SAME / 2, 76, "to the bit", "middle"),
    ]
    for k, fault in enumerate(faults):
        lines = _wrapped(fault)
        for n, line in enumerate(lines):
            y = TOP - 10 - 16 * (len(lines) - 1 - n)
            parts.append(_text(NAMES + CELL * (k + 0.5), y, line, "middle"))
    return parts


def _cell(share: Share, x: float, y: float) -> list[str]:
    if not share.of:
        return [
            f'<rect x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{ROW - 2}" fill="white" stroke="#dddddd"/>',
            _text(x + CELL / 2, y + ROW / 2 + 4.5, "none lost", "middle", size=11, colour=GREY),
        ]
    colour = "white" if share.value > 0.5 else "#1a1a1a"
    middle = y + ROW / 2 + 4.5
    return [
        f'<rect x="{x + 1}" y="{y + 1}" width="{CELL - 2}" height="{ROW - 2}" fill="{_shade(share.value)}"/>',
        _text(x + CELL / 2 - 6, middle, f"{100 * share.value:.0f} %", "end", bold=True, colour=colour),
        _text(x + CELL / 2, middle, f"{share.hits} of {share.of}", size=11, colour=colour),
    ]


def _shade(share: float) -> str:
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(LIGHT, DARK, strict=True))


def _ticks(rows: Sequence[Row]) -> list[float]:
    """As many as the intervals need, those of 0.9 to 1.2 at least."""
    ends = [end for row in rows for end in (row.cost.low, row.cost.high) if math.isfinite(end)]
    low = max((tick for tick in TICKS if tick <= min([0.9, *ends])), default=TICKS[0])
    high = min((tick for tick in TICKS if tick >= max([1.2, *ends])), default=TICKS[-1])
    return [tick for tick in TICKS if low <= tick <= high]


def _axis(left: float, ticks: Sequence[float], rows: int) -> list[str]:
    bottom, parts = TOP + ROW * rows, []
    for tick in ticks:
        x, stroke = _at(tick, left, ticks), "#555555" if tick == 1.0 else "#dddddd"
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="{stroke}"/>')
        parts.append(_text(x, TOP - 10, f"{tick:g}", "middle", size=12))
    return parts


def _at(ratio: float, left: float, ticks: Sequence[float]) -> float:
    """Where a ratio is on the logarithmic axis from `left`; what lies beyond it is at its end."""
    inside = min(max(ratio, ticks[0]), ticks[-1])
    return left + (SCALE - 40) * math.log(inside / ticks[0]) / math.log(ticks[-1] / ticks[0])


def _whisker(mean: Mean, left: float, ticks: Sequence[float], y: float) -> list[str]:
    if not math.isfinite(mean.value):
        return [_text(left, y + 4.5, "a run was ruined" if mean.of > 1 else "no runs", colour=GREY)]
    low, high, x = (_at(value, left, ticks) for value in (mean.low, mean.high, mean.value))
    return [
        f'<path d="M{low:.1f} {y:.1f}H{high:.1f}" stroke="{BLUE}" stroke-width="2"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="white" stroke="{BLUE}" stroke-width="2.5"/>',
        _text(max(high, x) + 9, y + 4.5, f"{mean.value:.2f}", size=12, colour=BLUE),
    ]


def _legend(y: float) -> list[str]:
    parts = [_text(NAMES, y + 11, "saved:")]
    for n in range(11):
        x = NAMES + 52 + 22 * n
        parts.append(f'<rect x="{x}" y="{y}" width="22" height="14" fill="{_shade(n / 10)}"/>')
    ends = ((52, "0 %"), (52 + 22 * 5.5, "50 %"), (52 + 22 * 11, "100 %"))
    return parts + [_text(NAMES + x, y + 30, text, "middle", size=12) for x, text in ends]


def _wrapped(words: str, width: int = 14) -> list[str]:
    lines = [""]
    for word in words.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _text(
    x: float, y: float, text: str, anchor: str = "start", *, size: int = 13, bold: bool = False, colour: str = "#1a1a1a"
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{weight} fill="{colour}">'
        f"{escape(text)}</text>"
    )
