"""A finding together with the causes that the record speaks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._finding import Finding
from .causes import Case, explain


def reported(
    case: Case,
    severity: str,
    says: str,
    where: Iterable[Mapping[str, Any]],
    evidence: Mapping[str, Any],
    causes: Iterable[str],
) -> Finding:
    """The finding that a rule has come to; what to try is left out of a note, which asks for nothing."""
    found, remedies = explain(case, causes)
    return Finding(
        case.trouble,
        severity,
        case.first_step,
        case.last_step,
        says,
        tuple(where),
        evidence,
        found,
        () if severity == "note" else remedies,
    )
