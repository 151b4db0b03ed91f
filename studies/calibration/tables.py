"""The counts behind every table and figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .baselines import SAGEMAKER
from .corpus import BASES
from .faults import FAULTS
from .judging import Judged
from .outcomes import HARMLESS, HEALTHY, MIDDLING, SICK
from .statistics import Share

SPARING = 0.1
"""A rule of SageMaker's is sparing if it fires on at most this share of the calibration half's healthy runs."""

ENOUGH = 60
"""Held-out sick runs that a common trouble should have."""

WORDS = {
    "found": "is found in",
    "first": "has the right cause first in",
    "three": "has it among the first three in",
}
TARGETS = {"found": 0.95, "first": 0.75, "three": 0.92, "alarms": 0.01}


@dataclass(frozen=True)
class Row:
    """One line of a table: what was counted of the sick runs and of the healthy ones that it names."""

    name: str
    found: Share
    first: Share
    three: Share
    alarms: Share


def share(judged: Sequence[Judged], test: Callable[[Judged], bool]) -> Share:
    return Share(sum(map(test, judged)), len(judged))


def row(name: str, judged: Iterable[Judged]) -> Row:
    every = list(judged)
    sick = [j for j in every if j.label.group == SICK]
    healthy = [j for j in every if j.label.group == HEALTHY]
    return Row(
        name,
        share(sick, lambda j: j.found),
        share(sick, lambda j: j.cause_among(1)),
        share(sick, lambda j: j.cause_among(3)),
        share(healthy, lambda j: bool(j.loud)),
    )


def held_out(judged: Iterable[Judged]) -> list[Judged]:
    return [j for j in judged if j.recipe.held_out]


def calibration(judged: Iterable[Judged]) -> list[Judged]:
    return [j for j in judged if not j.recipe.held_out]


def by_trouble(judged: Sequence[Judged]) -> list[Row]:
    troubles = sorted({j.label.trouble for j in judged if j.label.trouble})
    rows = [row(trouble, [j for j in judged if j.label.trouble == trouble]) for trouble in troubles]
    return sorted(rows, key=lambda r: -r.found.of)


def by_family(judged: Sequence[Judged]) -> list[Row]:
    families = dict.fromkeys(family for family, _ in BASES.values())
    rows = [row(family, [j for j in judged if j.recipe.family == family]) for family in families]
    return [r for r in rows if r.found.of or r.alarms.of]


def by_fault(judged: Sequence[Judged]) -> list[tuple[Row, int]]:
    """A row per fault, with how many of its runs came to no harm."""
    found = []
    for fault in FAULTS:
        own = [j for j in judged if j.recipe.fault == fault]
        if own:
            found.append((row(fault, own), sum(j.label.group == HARMLESS for j in own)))
    return found


def groups(judged: Sequence[Judged]) -> dict[str, int]:
    return {group: sum(j.label.group == group for j in judged) for group in (SICK, HEALTHY, HARMLESS, MIDDLING)}


@dataclass(frozen=True)
class Tool:
    """What a tool said, whatever it called it: sick runs with an alarm, healthy runs with one."""

    name: str
    recall: Share
    alarms: Share


def tools(counted: Sequence[Judged], chosen_on: Sequence[Judged]) -> list[Tool]:
    sparing = [rule.name for rule in sagemaker_rules(chosen_on) if rule.alarms.value <= SPARING]
    return [
        _tool("trimtab", counted, lambda j: bool(j.loud)),
        _tool("norm > 100", counted, lambda j: bool(j.alarms["norm > 100"])),
        _tool("AutoTrainer's rules", counted, lambda j: bool(j.alarms["AutoTrainer"])),
        _tool("SageMaker Debugger, all rules", counted, lambda j: bool(j.alarms["SageMaker Debugger"])),
        _tool(
            "SageMaker Debugger, sparing rules",
            counted,
            lambda j: bool(set(sparing) & set(j.alarms["SageMaker Debugger"])),
        ),
    ]


def sagemaker_rules(judged: Sequence[Judged]) -> list[Tool]:
    return [_rule(name, judged) for name in SAGEMAKER]


def _rule(name: str, judged: Sequence[Judged]) -> Tool:
    return _tool(name, judged, lambda j: name in j.alarms["SageMaker Debugger"])


def _tool(name: str, judged: Sequence[Judged], alarm: Callable[[Judged], bool]) -> Tool:
    sick = [j for j in judged if j.label.group == SICK]
    healthy = [j for j in judged if j.label.group == HEALTHY]
    return Tool(name, share(sick, alarm), share(healthy, alarm))


def shortfalls(judged: Sequence[Judged]) -> list[str]:
    """What is below its target, in plain words."""
    whole, rows = row("all", judged), by_trouble(judged)
    said = []
    if whole.alarms.of and whole.alarms.value > TARGETS["alarms"]:
        said.append(f"Of the healthy runs {whole.alarms} have a finding above `note`; the aim is at most 1 %.")
    said += [f"`{r.name}` {below}." for r in rows if (below := _below(r))]
    said += [f"A sick run of the family {r.name} {below}." for r in by_family(judged) if (below := _below(r))]
    if said:
        said.insert(0, "The aims: found in 95 % of the sick runs, the right cause first in 75 %, among three in 92 %.")
    if few := [f"`{r.name}` ({r.found.of})" for r in rows if r.found.of < ENOUGH]:
        said.append(f"Fewer than {ENOUGH} held-out sick runs, so that the intervals are wide: {', '.join(few)}.")
    return said


def _below(r: Row) -> str:
    """What of a row is under its target, in words; empty where nothing is."""
    shares = {what: getattr(r, what) for what in WORDS}
    return ", ".join(f"{WORDS[what]} {value}" for what, value in shares.items() if _is_below(value, what))


def _is_below(value: Share, target: str) -> bool:
    return bool(value.of) and value.value < TARGETS[target]


def misses(judged: Sequence[Judged]) -> list[str]:
    """A line for every wrong answer: rules that failed, false alarms, sick runs not found, causes not named first."""
    lines = [f"rule failed   {j.name}: {j.error}" for j in judged if j.error]
    lines += [f"false alarm   {j.name}: {_words(j)}" for j in judged if j.label.group == HEALTHY and j.loud]
    sick = [j for j in judged if j.label.group == SICK]
    lines += [
        f"missed        {j.name} ({j.label.trouble}; {j.label.why}): {_words(j) or j.outcome}"
        for j in sick
        if not j.found
    ]
    for j in sick:
        if j.found and not j.cause_among(1):
            place = "not first" if j.cause_among(3) else "cause missed"
            wanted = ", ".join(j.recipe.planted.causes) if j.recipe.planted else ""
            lines.append(f"{place:14}{j.name} ({wanted}): {_words(j)}")
    return lines


def _words(j: Judged) -> str:
    return "; ".join(f"{s.kind} [{s.severity}] <- {', '.join(s.causes) or 'no cause'}" for s in j.said)
