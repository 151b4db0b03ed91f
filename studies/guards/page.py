"""docs/guards.md: its tables between their marks, and its figure. What stands between them is written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from . import tables
from .faults import FAULTS
from .figure import Row, figure
from .outcomes import Outcomes
from .training import Result

STRICT = 2.0
"""Spreads, for those who find three too many."""

PAGE = Path(__file__).parents[2] / "docs" / "guards.md"


def write_page(results: Sequence[Result], made_by: Mapping[str, str], docs: Path) -> Path:
    """Fill the marked parts of the page in `docs`, which begins as a copy of the repository's; the path of the page."""
    from tour import between_marks  # type: ignore[import-not-found]  # examples/ is on the path since .training

    outcomes = Outcomes(results)
    (docs / "guards").mkdir(parents=True, exist_ok=True)
    (docs / "guards" / "worth.svg").write_text(_figure(outcomes), encoding="utf-8")
    page = docs / "guards.md"
    text = (page if page.exists() else PAGE).read_text(encoding="utf-8")
    for name, lines in _parts(outcomes, results, made_by).items():
        text = between_marks(text, "\n".join(lines), name)
    page.write_text(text, encoding="utf-8")
    return page


def _parts(outcomes: Outcomes, results: Sequence[Result], made_by: Mapping[str, str]) -> dict[str, list[str]]:
    return {
        "made": [_made(outcomes, results, made_by)],
        "saved": tables.saved(outcomes),
        "lost": tables.lost(outcomes),
        "families": tables.per_family(outcomes),
        "cost": tables.cost(outcomes),
        "measures": tables.measures(outcomes),
        "strict": tables.saved(Outcomes(results, spreads=STRICT)),
    }


def _made(outcomes: Outcomes, results: Sequence[Result], made_by: Mapping[str, str]) -> str:
    return (
        f"{len(results)} trainings on {made_by['day']}: trimtab {made_by['trimtab']}, PyTorch {made_by['torch']}, "
        f"{made_by['machine']}; {sum(result.seconds for result in results) / 60:.0f} minutes of CPU time. Of "
        f"{len(outcomes.planted())} planted runs without a policy {len(outcomes.lost())} were lost."
    )


def _figure(outcomes: Outcomes) -> str:
    faults = tables.faults(outcomes)
    rows = [
        Row(
            policy,
            [tables.saved_share(outcomes, policy, fault) for fault in faults],
            outcomes.cost(policy),
            outcomes.untouched(policy, lambda run: not run.fault),
        )
        for policy in tables.policies(outcomes)
    ]
    return figure("What a policy saves, and what it costs", [FAULTS[fault].says for fault in faults], rows)
