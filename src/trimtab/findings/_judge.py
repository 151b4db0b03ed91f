"""From a record to a verdict, by the same code while the training runs and after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._language import t
from ._crash import interrupted, status_of
from ._evidence import optimizer_name
from ._finding import OUTCOMES, SEVERITIES, Finding, Verdict, at_least
from ._guarded import guarded
from ._history import History, RecordLike, Track
from ._lost import lost
from ._non_finite import RECOVERY_STEPS, first_bad
from ._parts import parts
from ._progress import NO_GAIN, Progress, progress
from ._signal import signal
from ._text import decades, plural
from ._trouble import Trouble

BLOW_UPS = ("non-finite", "exploding-gradient", "diverging-loss")
STANDSTILLS = ("vanishing-gradient", "dead-units", "idle-parameter", "constant-output")  # fatal without a blow-up
AT_THE_END = ("constant-output", "stalled-loss", "slow-loss")  # their first step is no closer than a block of the run


def judge_with(troubles: Sequence[Trouble], record: RecordLike, *, live: bool = False) -> Verdict:
    """Apply every trouble's rule to every part of the run, and sum up.

    A diverging loss overflows statistics of it (squares, differences); infinity is the right answer there.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        groups = parts(record)
        verdict = _judge(troubles, record, groups, live)
        return replace(verdict, guard=guarded(record, [track for group in groups for track in group]))


def with_alarms(verdict: Verdict, alarms: Sequence[Finding]) -> Verdict:
    """The verdict with each of the `alarms` of a running training that it does not have, as a warning.

    What was said is not withdrawn in silence, though the whole record would not say it.
    """
    kinds = {f.kind for part in (verdict, *verdict.parts) for root in part.findings for f in (root, *root.consequences)}
    missing = [
        replace(alarm, severity="warning", says=t("{says}; by the end of the run this was over", says=alarm.says))
        for alarm in alarms
        if alarm.kind not in kinds
    ]
    findings = sorted((*verdict.findings, *missing), key=lambda f: -SEVERITIES.index(f.severity))
    return replace(verdict, findings=tuple(findings))


def _judge(troubles: Sequence[Trouble], record: RecordLike, groups: Sequence[tuple[Track, ...]], live: bool) -> Verdict:
    whole = History(record, tuple(track for group in groups for track in group), live)
    run_findings = _apply([trouble for trouble in troubles if trouble.whole_run], whole)
    rules = [trouble for trouble in troubles if not trouble.whole_run]
    if len(groups) <= 1:
        history = History(record, groups[0] if groups else (), live)
        return _verdict(troubles, history, [*_apply(rules, history), *run_findings])
    verdicts = [
        replace(_verdict(troubles, history, _apply(rules, history)), name=_name(history, index))
        for index, group in enumerate(groups)
        if (history := History(record, group, live, one_of_many=True))
    ]
    return _sum(whole, verdicts, run_findings)


def _apply(troubles: Sequence[Trouble], history: History) -> list[Finding]:
    """Every trouble's findings, those of one kind (of several ranks or optimizers) made one."""
    merged = (_merge(list(trouble.rule(history))) for trouble in troubles)
    return [finding for finding in merged if finding is not None]


def _merge(findings: list[Finding]) -> Finding | None:
    if not findings:
        return None
    first = min(findings, key=lambda f: (f.first_step, -SEVERITIES.index(f.severity)))
    places = [place for finding in sorted(findings, key=lambda f: f is not first) for place in finding.where]
    worst = max((f.severity for f in findings), key=SEVERITIES.index)
    unique = [place for i, place in enumerate(places) if place not in places[:i]]
    return replace(first, severity=worst, last_step=max(f.last_step for f in findings), where=tuple(unique))


def _verdict(troubles: Sequence[Trouble], history: History, findings: list[Finding]) -> Verdict:
    nested = chain(troubles, findings)
    state = progress(history)
    return Verdict(
        _outcome(history, nested, state),
        history.steps,
        tuple(nested),
        tuple(_compared(history, state)),
        _reason(history, nested, state),
        loss=_loss(history, state),
    )


def _loss(history: History, state: Progress) -> dict[str, float]:
    """A loss that was not finite to the end ends as what it was then."""
    known = {"first": state.first, "last": state.last, "chance": state.reference if state.by_chance else math.nan}
    found = {name: value for name, value in known.items() if math.isfinite(value)}
    track = history.lead
    if track is not None and not history.adversarial and not np.isfinite(track.loss[-RECOVERY_STEPS:]).any():
        found["last"] = float(track.loss[-1])
    return found


def chain(troubles: Sequence[Trouble], findings: Sequence[Finding]) -> list[Finding]:
    """List each trouble that only follows from an earlier one under it; the worst of what is left first.

    A `note` leads to nothing, nor does a warning of what was over by then: the training got over it.
    """
    order = {trouble.name: i for i, trouble in enumerate(troubles)}
    leads_to = {trouble.name: trouble.leads_to for trouble in troubles}
    roots: list[Finding] = []
    for finding in sorted(findings, key=lambda f: _place_in_chain(f, order.get(f.kind, 0))):
        root = next(
            (i for i, r in enumerate(roots) if finding.kind in leads_to.get(r.kind, ()) and not _over(r, finding)), None
        )
        if root is None:
            roots.append(finding)
            continue
        above = roots[root]
        severity = max(above.severity, finding.severity, key=SEVERITIES.index)
        last = max(above.last_step, finding.last_step)
        roots[root] = replace(above, severity=severity, last_step=last, consequences=(*above.consequences, finding))
    return sorted(roots, key=lambda f: -SEVERITIES.index(f.severity))


def _place_in_chain(finding: Finding, order: int) -> tuple[bool, int, int]:
    at_the_end = finding.kind in AT_THE_END
    return at_the_end, 0 if at_the_end else finding.first_step, order


def _over(earlier: Finding, later: Finding) -> bool:
    return earlier.severity == "note" or (earlier.severity == "warning" and earlier.last_step < later.first_step)


def _outcome(history: History, findings: Sequence[Finding], state: Progress) -> str:
    kinds = {f.kind: f for root in findings for f in (root, *root.consequences)}
    lost = {kind for kind in BLOW_UPS if kind in kinds and kinds[kind].severity == "fatal"}
    if lost - {"exploding-gradient"} or (lost and state.state != "stuck"):
        return "blew_up"
    if "crash" in kinds and at_least(kinds["crash"].severity, "serious"):
        return "crashed"
    if interrupted(history):
        return "interrupted"
    if "stalled-loss" in kinds or _came_back_to_nothing(kinds.get("diverging-loss")):
        return "stalled"
    if any(at_least(f.severity, "fatal") for f in findings):
        return "stalled" if any(kind in kinds for kind in STANDSTILLS) else "blew_up"
    if "slow-loss" in kinds and at_least(kinds["slow-loss"].severity, "serious") and state.gain < NO_GAIN:
        return "stalled"
    return "trained" if state.learned else "unjudged"


def _came_back_to_nothing(diverging: Finding | None) -> bool:
    """The loss was far away for long, came back, and ended no better than it began."""
    return diverging is not None and diverging.severity == "serious" and "steps_beyond" in (diverging.evidence or {})


def _reason(history: History, findings: Sequence[Finding], state: Progress) -> str:
    if how := interrupted(history):
        return t("interrupted by {how}", how=how)
    if _outcome(history, findings, state) == "unjudged":
        return state.says
    if state.learned or any(at_least(f.severity, "serious") for f in findings):
        return ""
    if not history.steps and status_of(history.record.meta) is None:
        return t("no optimizer step was seen, and the record has no end")
    return state.says


def _compared(history: History, state: Progress) -> list[str]:
    """What was compared with what, as sentences."""
    if not history.tracks:
        return []
    over = history.lead is not None and lost(history, history.lead) is not None
    sentences = [state.says] if state.steps and not over else []
    bad = any((track.columns["nonfinite"] > 0).any() or first_bad(track) is not None for track in history.tracks)
    if not bad:
        sentences.append(t("no NaN and no infinity in {steps}", steps=plural(history.steps, "step")))
    sentences += _signal_compared(history.tracks[0])
    return sentences


def _signal_compared(track: Track) -> list[str]:
    found = signal(track)
    if found is None:
        return []
    ways = [(name, d) for name, d in (("forward", found.forward), ("backward", found.backward)) if d]
    if not ways:
        return []
    worst = max((d for _, d in ways), key=lambda d: abs(d.log10_ratio))
    limit = worst.limit + worst.drift
    words = {"forward": t("forward"), "backward": t("backward")}
    changes = t(", ").join(f"{words[name]} {decades(d.log10_ratio)}" for name, d in ways)
    path = t("{path} at step {step}", path=found.path, step=found.step) if found.step else found.path
    text = t("signal over {path}: {changes}, limit 10^±{limit}", path=path, changes=changes, limit=f"{limit:.1f}")
    return [text + (t("; ") + found.unseen if found.unseen else "")]


def _name(history: History, index: int) -> str:
    """ "part 2: SGD on MLP"; a name, and the same in every language."""
    info = history.tracks[0].series.info
    optimizer, model = optimizer_name(history.tracks[0]), str(info.get("model") or "").rpartition(".")[2]
    what = " on ".join(word for word in (optimizer, model) if word)
    return f"part {index + 1}" + (f": {what}" if what else "")


def _sum(history: History, verdicts: list[Verdict], run_findings: list[Finding]) -> Verdict:
    """The verdict of a run that trained several models in turn: the worst of its parts."""
    alone = _verdict((), replace(history, tracks=()), run_findings)
    outcomes = [v.outcome for v in verdicts] + ([alone.outcome] if run_findings or interrupted(history) else [])
    parts_findings = [
        replace(f, says=t("part {number}: {says}", number=number, says=f.says))
        for number, v in enumerate(verdicts, 1)
        for f in v.findings
    ]
    findings = sorted([*parts_findings, *run_findings], key=lambda f: -SEVERITIES.index(f.severity))
    good = sum(v.outcome == "trained" for v in verdicts)
    return Verdict(
        min(outcomes, key=OUTCOMES.index),
        sum(v.steps for v in verdicts),
        tuple(findings),
        (
            t(
                "{models} models trained in turn, each judged alone: {good} of them trained",
                models=len(verdicts),
                good=good,
            ),
        ),
        next((v.reason for v in verdicts if v.reason), alone.reason if interrupted(history) else ""),
        tuple(verdicts),
    )
