"""docs/calibration.md and its figures, from the judged corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch

from trimtab import __version__
from trimtab.findings import TROUBLES

from . import figures, outcomes, tables
from .faults import FAULTS
from .judging import Judged
from .outcomes import HARMLESS, HEALTHY, MIDDLING, SICK
from .statistics import Share
from .thresholds import Chosen

FIGURES = "calibration"


def write_page(judged: Sequence[Judged], chosen: Sequence[Chosen], docs: Path, command: str) -> Path:
    """Write the page and its figures into `docs`; the path of the page."""
    folder = docs / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    counted = tables.held_out(judged)
    tools = tables.tools(counted, tables.calibration(judged))
    rows = tables.by_trouble(counted)
    (folder / "tools.svg").write_text(_tools_chart(tools), encoding="utf-8")
    (folder / "troubles.svg").write_text(_troubles_chart(rows), encoding="utf-8")
    page = docs / "calibration.md"
    sections = (
        _head(judged, command),
        _tools_section(tools, tables.sagemaker_rules(counted)),
        _troubles_section(rows, tables.row("all", counted)),
        _families_section(counted),
        _shortfalls_section(counted),
        _faults_section(counted),
        _thresholds_section(chosen),
        _method_section(),
    )
    page.write_text("\n".join(line for section in sections for line in section).rstrip() + "\n", encoding="utf-8")
    return page


def _tools_chart(tools: Sequence[tables.Tool]) -> str:
    return figures.chart(
        "Sick runs with an alarm, and healthy runs with one",
        [tool.name for tool in tools],
        [
            figures.Series("sick runs with an alarm", "circle", figures.BLUE, [tool.recall for tool in tools]),
            figures.Series("healthy runs with an alarm", "square", figures.ORANGE, [tool.alarms for tool in tools]),
        ],
        "share of the held-out runs [%], with 95 % Wilson intervals",
    )


def _troubles_chart(rows: Sequence[tables.Row]) -> str:
    return figures.chart(
        "Per trouble: found, and the right cause named first",
        [f"{row.name} ({row.found.of})" for row in rows],
        [
            figures.Series("found", "circle", figures.BLUE, [row.found for row in rows]),
            figures.Series("right cause first", "square", figures.ORANGE, [row.first for row in rows]),
        ],
        "share of the held-out sick runs [%], with 95 % Wilson intervals; their number in brackets",
    )


def _head(judged: Sequence[Judged], command: str) -> list[str]:
    counts, held = tables.groups(judged), tables.groups(tables.held_out(judged))
    day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    torch_version = torch.__version__.split("+")[0]
    families = len({j.recipe.family for j in judged})
    return [
        "# How often is trimtab right?",
        "",
        *_prose(f"""
        Written by `{command}` on {day}: trimtab {__version__}, PyTorch {torch_version}, NumPy {np.__version__}.

        {len(judged)} short trainings of {families} families, healthy and with a planted fault, were recorded and
        judged. {counts[SICK]} were sick, {counts[HEALTHY]} healthy; {counts[HARMLESS]} planted faults did no harm, and
        {counts[MIDDLING]} runs are left out because they, or their healthy twin, did not train well. Sick and healthy
        are told apart by the held-out score, not by trimtab (below). Thresholds may look at the runs of even seeds;
        everything here is counted on those of odd seeds ({held[SICK]} sick, {held[HEALTHY]} healthy). Intervals are
        Wilson's of 95 %.
        """),
    ]


def _tools_section(tools: Sequence[tables.Tool], rules: Sequence[tables.Tool]) -> list[str]:
    return [
        "## Beside other rules",
        "",
        "An alarm is any finding above `note`, whatever it is called.",
        "",
        f"![Sick and healthy runs with an alarm, per tool]({FIGURES}/tools.svg)",
        "",
        *_table(
            ("tool", "sick runs with an alarm", "healthy runs with an alarm"),
            ((tool.name, tool.recall, tool.alarms) for tool in tools),
        ),
        "",
        *_prose(f"""
        The other tools' rules are written from their descriptions, on the same records
        ([baselines.py](../studies/calibration/baselines.py) says where a quantity stands in for another):
        AutoTrainer's with the thresholds of its source; SageMaker Debugger's [built-in
        rules](https://docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html) at their default
        parameters. Those are meant to be chosen from: "sparing" are the ones that fire on at most {
            100
            * tables.SPARING:.0f} % of the healthy runs of the calibration half. None of these rules names a cause. The
        corpus is ours, and no other rule was tuned on its calibration half, as trimtab's were.
        """),
        *_table(
            ("rule of SageMaker Debugger", "sick runs", "healthy runs"), ((r.name, r.recall, r.alarms) for r in rules)
        ),
        "",
    ]


def _troubles_section(rows: Sequence[tables.Row], whole: tables.Row) -> list[str]:
    return [
        "## Per trouble",
        "",
        *_prose("""
        A run is found if a finding above `note` names one of the troubles in which its fault shows, also where it is
        listed as a consequence; a spike that passed, parameters without a gradient and ranks that part count at any
        severity. Causes are counted over all sick runs: where nothing was found, no cause is right.
        """),
        f"![Found and right cause first, per trouble]({FIGURES}/troubles.svg)",
        "",
        *_table(
            ("trouble", "found", "right cause first", "right cause among the first three"),
            ((r.name, r.found, r.first, r.three) for r in (*rows, whole)),
        ),
        "",
        f"Troubles without a sick run here: {', '.join(_without_runs(rows)) or 'none'}.",
        "",
    ]


def _without_runs(rows: Sequence[tables.Row]) -> list[str]:
    seen = {row.name for row in rows}
    return [trouble.name for trouble in TROUBLES if trouble.name not in seen]


def _families_section(counted: Sequence[Judged]) -> list[str]:
    rows = (*tables.by_family(counted), tables.row("all", counted))
    return [
        "## Per family",
        "",
        *_table(
            (
                "family",
                "found",
                "right cause first",
                "among the first three",
                "healthy runs with a finding above `note`",
            ),
            ((r.name, r.found, r.first, r.three, r.alarms) for r in rows),
        ),
        "",
    ]


def _shortfalls_section(counted: Sequence[Judged]) -> list[str]:
    said = tables.shortfalls(counted)
    failed = sum(bool(j.error) for j in counted)
    if failed:
        said.append(f"A rule failed with an error on {failed} runs, which have no verdict.")
    return [
        "## What falls short",
        "",
        *(f"- {sentence}" for sentence in said or ["Nothing that is measured here."]),
        "",
    ]


def _faults_section(counted: Sequence[Judged]) -> list[str]:
    harmless = [j for j in counted if j.label.group == HARMLESS]
    loud = tables.share(harmless, lambda j: bool(j.loud))
    return [
        "## Per planted fault",
        "",
        *_prose(f"""
        Of the {len(harmless)} held-out runs whose fault did no harm, {loud} have a finding above `note`. That is
        neither right nor wrong: a gradient that starts at 10^6 is worth a word though Adam gets over it.
        """),
        *_table(
            ("fault", "what it is", "harmless", "found", "right cause first", "among the first three"),
            (
                (f"`{r.name}`", FAULTS[r.name].says, harmless_runs, r.found, r.first, r.three)
                for r, harmless_runs in tables.by_fault(counted)
            ),
        ),
        "",
    ]


def _thresholds_section(chosen: Sequence[Chosen]) -> list[str]:
    return [
        "## Thresholds",
        "",
        *_prose("""
        Each trouble's main statistic alone, without the other conditions of its rule; recall and false alarms are
        those of the held-out half. "Chosen" is the threshold with the highest recall on the calibration half among
        those with at most 0.5 % false alarms there. "Families in turn" chooses without one family and counts on that
        one.
        """),
        *_table(
            ("trouble", "statistic", "chosen", "in use", "chosen: recall, false alarms", "in use", "families in turn"),
            (_threshold_cells(one) for one in chosen),
        ),
        "",
    ]


def _threshold_cells(one: Chosen) -> tuple[str, ...]:
    statistic = one.statistic
    counts = (f"{_short(c.recall)}, {_short(c.alarms)}" for c in (one.held_out, one.in_use, one.families))
    return (
        ", ".join(statistic.troubles),
        f"{statistic.name} [{statistic.unit}]",
        _limit(one.calibration.threshold, statistic.above),
        _limit(one.in_use.threshold, statistic.above),
        *counts,
    )


def _method_section() -> list[str]:
    return [
        "## How it was done",
        "",
        *_prose(f"""
        Models and data are those of [examples/](../examples/README.md), and two more; every run takes 20 to 700
        optimizer steps in a process of its own (in two, where two ranks train together), recorded by the same hooks as
        under `trimtab run`. The list is in
        [corpus.py](../studies/calibration/corpus.py), the faults are in [faults.py](../studies/calibration/faults.py).

        **Sick or healthy** ([outcomes.py](../studies/calibration/outcomes.py)). A run's score is its held-out gain
        over the best constant answer, by the true targets. A healthy recipe counts as healthy if its gain is at least
        {_percent(outcomes.NEAR_BEST)} % of its family's median and it does not overfit by the measure below. A planted
        run is sick if it lost more than {_percent(outcomes.LOST_SHARE)} % of the gain of its twin (the same recipe and
        seed without the fault), or ended in an exception or with something not finite. A single bad batch counts by
        the {outcomes.SPIKE_STEPS} losses after it, against the twin's on the same batches (over {outcomes.SPIKE:.0f}
        times); overfitting by the held-out loss at the end against its least (over {outcomes.OVERFIT} times, and over
        {_percent(outcomes.LOST_AGAIN)} % of what it had gained since the first validation); parameters without a
        gradient, and ranks that part, by construction.

        **What this does not show.** The runs are short and small, on a CPU, and the faults are those that we thought
        of. A real training goes wrong in more ways, and rarely by one fault alone. A false-alarm rate on this corpus
        is not the rate on yours.
        """),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _prose(text: str) -> list[str]:
    """Paragraphs, a line each, and an empty line after each."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))
    return [line for paragraph in paragraphs for line in (paragraph, "")]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return lines + [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]


def _limit(value: float, above: bool) -> str:
    return f"{'>' if above else '<'} {value:.3g}" if np.isfinite(value) else "none"


def _short(share: Share) -> str:
    return f"{100 * share.value:.1f} %" if share.of else "no runs"
