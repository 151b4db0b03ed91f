"""Charts of shares with their intervals, as SVG: a dot and a whisker per row, safe for the colour-blind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .statistics import Share

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8a8a8a"  # Okabe and Ito's, safe for the colour-blind
LEFT, RIGHT, TOP, ROW, WIDTH = 250, 70, 66, 34, 860


@dataclass(frozen=True)
class Series:
    """One kind of dot: what it is, its shape ("circle" or "square") and colour, and a share per row."""

    label: str
    shape: str
    colour: str
    shares: Sequence[Share]


def chart(title: str, rows: Sequence[str], series: Sequence[Series], axis: str) -> str:
    """Rows from top to bottom, a share from 0 to 100 % along the axis, whiskers for 95 % intervals."""
    height = TOP + ROW * len(rows) + 58
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}</text>',
        *_legend(series),
        *_grid(len(rows), axis),
    ]
    for i, name in enumerate(rows):
        y = TOP + ROW * i + ROW / 2
        parts.append(f'<text x="{LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for k, one in enumerate(series):
            offset = (k - (len(series) - 1) / 2) * 11
            parts += _dot(one, one.shares[i], y + offset)
    return "\n".join([*parts, "</svg>", ""])


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _legend(series: Sequence[Series]) -> list[str]:
    parts, x = [], 12.0
    for one in series:
        parts.append(_mark(one, x + 6, 42))
        parts.append(f'<text x="{x + 18:.1f}" y="46.5">{escape(one.label)}</text>')
        x += 40 + 7.2 * len(one.label)
    return parts


def _grid(rows: int, axis: str) -> list[str]:
    bottom = TOP + ROW * rows
    parts = []
    for tick in range(0, 101, 20):
        x = _x(tick / 100)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#dddddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{tick}</text>')
    parts.append(f'<text x="{_x(0.5):.1f}" y="{bottom + 42}" text-anchor="middle">{escape(axis)}</text>')
    return parts


def _dot(one: Series, share: Share, y: float) -> list[str]:
    if not share.of:
        return [f'<text x="{_x(0) + 4:.1f}" y="{y + 4:.1f}" fill="{GREY}" font-size="11">no runs</text>']
    low, high = share.interval
    value = 100 * share.value
    text = f"{value:.1f}" if 0 < value < 9.95 else f"{value:.0f}"
    return [
        f'<path d="M{_x(low):.1f} {y:.1f}H{_x(high):.1f}" stroke="{one.colour}" stroke-width="2"/>',
        _mark(one, _x(share.value), y),
        f'<text x="{_x(high) + 7:.1f}" y="{y + 4:.1f}" font-size="11" fill="{one.colour}">{text}</text>',
    ]


def _mark(one: Series, x: float, y: float) -> str:
    if one.shape == "square":
        return f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9" fill="{one.colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="white" stroke="{one.colour}" stroke-width="2.5"/>'
