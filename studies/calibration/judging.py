"""Judges every run of the packed corpus with trimtab and with the baselines, and keeps what each said."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trimtab.findings import SEVERITIES, Finding, Verdict, at_least, judge

from .baselines import BASELINES
from .corpus import Recipe
from .outcomes import SICK, Label, labels
from .packing import PackedCorpus, Trained

JOBS = 2
PASSING = ("spike", "construction")
"""Harm for which a `note` is an answer: a spike that passed, and a tensor that stands still, may be worth no more."""


@dataclass(frozen=True)
class Said:
    """One finding of trimtab's, consequences included as findings of their own; `causes` are those of its root."""

    kind: str
    severity: str
    root: int
    causes: tuple[str, ...]
    says: str


@dataclass(frozen=True)
class Judged:
    """A run, its label, and what was said of it. `alarms`: by baseline, the rules that fired."""

    recipe: Recipe
    label: Label
    gain: float
    outcome: str
    said: tuple[Said, ...]
    alarms: dict[str, tuple[str, ...]]
    error: str = ""

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def loud(self) -> tuple[Said, ...]:
        """Findings above `note`."""
        return tuple(said for said in self.said if at_least(said.severity, "warning"))

    @property
    def answer(self) -> Said | None:
        """The finding that names one of the fault's troubles: the worst such root, or the root it is listed under."""
        fault = self.recipe.planted
        if fault is None or self.label.group != SICK:
            return None
        quiet = fault.troubles[:1] if fault.harm in PASSING else ()
        heard = [said for said in self.said if said.kind in quiet or said in self.loud]
        roots = [said.root for said in heard if said.kind in fault.troubles]
        return next((said for said in self.said if roots and said.root == min(roots)), None)

    @property
    def found(self) -> bool:
        return self.answer is not None

    def cause_among(self, first: int) -> bool:
        """One of the fault's causes is among the `first` named."""
        fault, answer = self.recipe.planted, self.answer
        return fault is not None and answer is not None and bool(set(answer.causes[:first]) & set(fault.causes))


_corpus: PackedCorpus
_labels: dict[str, Label]


def judge_all(corpus: PackedCorpus, jobs: int = JOBS) -> list[Judged]:
    """Judge the whole corpus, in `jobs` forked processes that share its tables."""
    global _corpus, _labels
    corpus.preload()
    runs = list(corpus.runs())
    _corpus, _labels = corpus, labels(runs)
    if jobs < 2:
        return [_judged(run) for run in runs]
    shares = [[run.name for run in runs[i :: 4 * jobs]] for i in range(4 * jobs)]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        pieces = pool.map(_judge_some, shares, chunksize=1)
    return sorted((judged for piece in pieces for judged in piece), key=lambda judged: judged.name)


def _judge_some(names: Sequence[str]) -> list[Judged]:
    wanted = set(names)
    return [_judged(run) for run in _corpus.runs() if run.name in wanted]


def _judged(run: Trained) -> Judged:
    verdict, error = _attempt(lambda: judge(run.record))
    alarms = {name: rules(run) for name, rules in BASELINES.items()}
    said = tuple(_flat(verdict)) if verdict else ()
    outcome = verdict.outcome if verdict else "error"
    return Judged(run.recipe, _labels[run.name], run.gain, outcome, said, alarms, error)


def _attempt(call: Callable[[], Verdict]) -> tuple[Verdict | None, str]:
    """A rule that fails on one run must not cost the judgement of the others; the page lists it."""
    try:
        return call(), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _flat(verdict: Verdict) -> list[Said]:
    said: list[Said] = []
    for number, root in enumerate(verdict.findings):
        said += [_said(root, number, root), *(_said(finding, number, root) for finding in root.consequences)]
    return said


def _said(finding: Finding, number: int, root: Finding) -> Said:
    assert finding.severity in SEVERITIES
    causes = root.causes or finding.causes
    return Said(finding.kind, finding.severity, number, tuple(cause.cause for cause in causes), finding.says)
