"""The counts of the page, as lines of Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from studies.calibration.statistics import Share

from .faults import FAULTS
from .outcomes import Outcomes
from .plan import BASES, POLICIES, WITH_ADAM, Run

FAMILIES = ("mlp", "vgg", "resnet", "lstm", "rnn", "gcn", "transformer")


def policies(outcomes: Outcomes) -> list[str]:
    """Those that there are runs of, in the order of the plan."""
    seen = {run.policy for run in outcomes.results}
    return [policy for policy in POLICIES if policy in seen]


def faults(outcomes: Outcomes) -> list[str]:
    """Those that there are runs of, in the order of the plan."""
    seen = {run.fault for run in outcomes.results if run.fault}
    return [fault for fault in FAULTS if fault in seen]


def families(outcomes: Outcomes) -> list[str]:
    seen = {run.family for run in outcomes.results}
    return [family for family in FAMILIES if family in seen]


def bases(outcomes: Outcomes) -> list[str]:
    """Those that there are runs of, in the order of the plan."""
    return [base for base in dict.fromkeys((*BASES, *WITH_ADAM)) if base in outcomes.yardsticks]


def lost(outcomes: Outcomes) -> list[str]:
    """Per fault and base: how many of the runs without a policy are lost."""
    names = bases(outcomes)
    cells = [[_of(_lost_share(outcomes, fault, base)) for base in names] for fault in faults(outcomes)]
    return table(
        ("fault", *names),
        ([FAULTS[fault].says, *row] for fault, row in zip(faults(outcomes), cells, strict=True)),
    )


def _lost_share(outcomes: Outcomes, fault: str, base: str) -> Share:
    chosen = [run for run in outcomes.planted() if (run.fault, run.base) == (fault, base)]
    return Share(sum(not outcomes.is_within(run) for run in chosen), len(chosen))


def saved(outcomes: Outcomes) -> list[str]:
    """Per policy and fault: the share of the lost runs that it saves, with its interval."""
    columns = faults(outcomes)
    return table(
        ("policy", *(FAULTS[fault].says for fault in columns)),
        (
            [f"`{policy}`", *(str(saved_share(outcomes, policy, fault)) for fault in columns)]
            for policy in policies(outcomes)
        ),
    )


def saved_share(outcomes: Outcomes, policy: str, fault: str) -> Share:
    return outcomes.saved(policy, lambda run: run.fault == fault)


def per_family(outcomes: Outcomes) -> list[str]:
    """For each fault a table: saved of lost, per policy and family."""
    lines: list[str] = []
    for fault in faults(outcomes):
        lines += [f"### {FAULTS[fault].says[0].upper()}{FAULTS[fault].says[1:]}", "", *_of_fault(outcomes, fault), ""]
    return lines[:-1]


def _of_fault(outcomes: Outcomes, fault: str) -> list[str]:
    there = {run.family for run in outcomes.lost() if run.fault == fault}
    columns = [family for family in families(outcomes) if family in there]
    if not columns:
        return ["No run was lost."]

    def share(policy: str, family: str) -> Share:
        return outcomes.saved(policy, lambda run: (run.fault, run.family) == (fault, family))

    return table(
        ("policy", *columns),
        ([f"`{policy}`", *(_of(share(policy, family)) for family in columns)] for policy in policies(outcomes)),
    )


def cost(outcomes: Outcomes) -> list[str]:
    """Per policy: the healthy runs that it leaves as they are, those that it ruins, its price, pooled and per base."""
    names = [base for base in bases(outcomes) if any(run.policy and run.base == base for run in outcomes.results)]
    return table(
        ("policy", "bit for bit the same", "beyond the tolerance", "final loss", *names),
        (
            [
                f"`{policy}`",
                _of(outcomes.untouched(policy, lambda run: not run.fault)),
                _of(outcomes.ruined(policy)),
                str(outcomes.cost(policy)),
                *(_price(outcomes.cost(policy, _in(base)).value) for base in names),
            ]
            for policy in policies(outcomes)
        ),
    )


def _price(value: float) -> str:
    """A dash where the training was not run healthy under a policy."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def _in(base: str) -> Callable[[Run], bool]:
    return lambda run: run.base == base


def measures(outcomes: Outcomes) -> list[str]:
    """Per base: what healthy runs come to, their spread, the tolerated factor."""
    counts = {base: sum(run == Run(base, run.seed) for run in outcomes.results) for base in outcomes.yardsticks}
    return table(
        ("training", "healthy seeds", "median final loss", "spread", "tolerated factor"),
        (
            [base, str(counts[base]), f"{one.median:.3g}", f"{one.spread:.2f}", f"{one.factor:.2f}"]
            for base, one in ((base, outcomes.yardsticks[base]) for base in bases(outcomes))
        ),
    )


def _of(share: Share) -> str:
    """ "7/8"; a dash for nothing of nothing."""
    return f"{share.hits}/{share.of}" if share.of else "–"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
