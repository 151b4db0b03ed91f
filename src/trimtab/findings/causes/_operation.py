"""The operation that the event of a first non-finite value names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._language import t
from .._text import number
from ._cause import Case


def nonfinite_event(case: Case) -> Mapping[str, Any]:
    """What is known of the first non-finite value of this trouble; empty where nothing is."""
    events = case.history.events_of("nonfinite", case.track)
    return next((event.data for event in events if event.step == case.first_step), {})


def forward_operation(case: Case) -> Mapping[str, Any]:
    """{"op", "what", "tensor", "input"}, as far as known."""
    op = nonfinite_event(case).get("forward")
    return op if isinstance(op, Mapping) else {}


def shown(op: Mapping[str, Any]) -> str:
    """ " (3 of 64 entries not finite, the others 0 to 12.1)"; empty where the input is not known."""
    given = op.get("input")
    if not given:
        return ""
    if not isinstance(given, Mapping):
        return f" ({given})"
    known = {key: float(value) for key, value in given.items() if isinstance(value, int | float)}
    low, high = number(known.get("min", float("nan"))), number(known.get("max", float("nan")))
    has_range = "min" in known and "max" in known
    if not known.get("nonfinite"):
        return t(" (entries {low} to {high})", low=low, high=high) if has_range else ""
    bad, entries = f"{known['nonfinite']:,.0f}", f"{known.get('entries', 0):,.0f}"
    if not has_range:
        return t(" ({bad} of {entries} entries not finite)", bad=bad, entries=entries)
    return t(
        " ({bad} of {entries} entries not finite, the others {low} to {high})",
        bad=bad,
        entries=entries,
        low=low,
        high=high,
    )
