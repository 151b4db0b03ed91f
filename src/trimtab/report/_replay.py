"""The page of a replay: the event, what was kept, the experiments, and what they say."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trimtab._language import t

from ._style import MAX_WIDTH, clean, for_terminal, is_ascii

if TYPE_CHECKING:
    from rich.console import Console

    from trimtab.runs._blackbox import TensorSummary

MAX_TENSORS = 4


def replay_page(data: dict[str, Any], kept: dict[str, list[TensorSummary]], console: Console) -> None:
    """Print the page of `data` (a replay as JSON) with the summaries of its tensors."""
    ascii_only = is_ascii(console)
    for text in _lines(data, kept):
        margin = " " * (len(text) - len(text.lstrip()))
        lines = textwrap.wrap(text, min(console.width, MAX_WIDTH), subsequent_indent=margin + "  ") or [""]
        for folded in lines:
            console.print(for_terminal(folded, ascii_only), markup=False, highlight=False, soft_wrap=True)


def _lines(data: dict[str, Any], kept: dict[str, list[TensorSummary]]) -> Iterator[str]:
    yield ""
    yield f" {_headline(data)}"
    yield ""
    yield f" {t('The event')}"
    yield from _event(data)
    yield ""
    yield f" {t('Kept in the black box')}"
    yield from _kept(data["event"], kept)
    if data["experiments"]:
        yield ""
        yield f" {t('Again')}"
        yield from (f"   {_experiment(e)}" for e in data["experiments"])
    for text in (*data["reading"], *data["caveats"], *data["damage"]):
        yield ""
        yield f"   {clean(text)}"
    yield ""


def _headline(data: dict[str, Any]) -> str:
    step = data["event"].get("failed_step")
    if data["again"]:
        return t("The event of step {step} happened again.", step=step)
    if data["again"] is False:
        return t("The event of step {step} did not happen again.", step=step)
    return t("The event of step {step} was not repeated: {reason}.", step=step, reason=clean(data["reason"]))


def _event(data: dict[str, Any]) -> Iterator[str]:
    event, recorded = data["event"], data["recorded"]
    kind = event.get("kind")
    if kind == "exception":
        yield "   " + t("an exception: {type}", type=clean(event.get("type")))
    elif kind == "nonfinite":
        names = event.get("tensors") or []
        first = clean(", ".join(map(str, names[:MAX_TENSORS])))
        yield "   " + t("gradients were not finite, in {count} tensors: {names}", count=len(names), names=first)
        if (forward := event.get("forward")) is not None:
            yield "   " + t("first in the forward pass: {what}", what=_fault(forward))
    else:
        yield "   " + t("the loss grew to {loss}", loss=_short(event.get("loss")))
    if recorded.get("g2_over_v") is not None:
        yield "   " + t("at the last sampled step before: g2/v up to {ratio}", ratio=_short(recorded["g2_over_v"]))
    yield "   " + t(
        "step {step}: loss {loss}, gradient norm {norm}; the first loss was {first}",
        step=event.get("failed_step"), loss=_short(recorded["loss"]), norm=_short(recorded["grad_norm"]),
        first=_short(recorded["first_loss"]),
    )  # fmt: skip


def _kept(event: dict[str, Any], kept: dict[str, list[TensorSummary]]) -> Iterator[str]:
    age = event.get("age_steps")
    titles = {
        "weights": t("weights before step {step}, {age} steps old", step=event.get("snapshot_step"), age=age),
        "optimizer": t("the optimizer's state at that time"),
        "failed": t("weights of the step that failed"),
        "failed_optimizer": t("the optimizer's state of the step that failed"),
        "batch": t("the batch of the step that failed"),
    }
    for part, title in titles.items():
        if part in kept:
            yield f"   {title}: {_count(kept[part])}"
            yield from (f"      {_tensor(s)}" for s in _of_note(part, kept[part]))
    if "batch" not in kept:
        reason = (event.get("batch") or {}).get("not_kept") or t("the run was without --keep-batch")
        yield "   " + t("no batch: {reason}", reason=clean(reason))


def _of_note(part: str, summaries: Sequence[TensorSummary]) -> list[TensorSummary]:
    """Those that are not finite first, then the largest; all of a batch, if these are few."""
    shown = [s for s in summaries if part == "batch" or s.shape or s.nonfinite]
    ranked = sorted(shown, key=lambda s: (-s.nonfinite, -_size(s)))
    return ranked[: MAX_TENSORS * 2 if part == "batch" else MAX_TENSORS]


def _tensor(s: TensorSummary) -> str:
    shape = "x".join(map(str, s.shape)) or "-"
    text = f"{clean(s.name)} ({shape} {s.dtype}): {_short(s.least)} .. {_short(s.largest)}"
    if s.nonfinite:
        text += ", " + t("{count} entries not finite", count=s.nonfinite)
    if s.nonfinite_rows:
        text += ", " + t("rows not finite: {rows}", rows=", ".join(map(str, s.nonfinite_rows)))
    if s.far_rows:
        text += ", " + t("rows far from the others: {rows}", rows=", ".join(map(str, s.far_rows)))
    return text


def _experiment(e: dict[str, Any]) -> str:
    batch = t("the kept batch") if e["batch"] == "kept" else t("a batch of the script")
    begin = t("{batch} on the weights {weights}", batch=batch, weights=_weights(e["weights"]))
    if e.get("exception"):
        return f"{begin}: {clean(e['exception'])}: {clean(e.get('message'))}"
    text = f"{begin}: " + t("loss {loss}, gradient norm {norm}", loss=_short(e["loss"]), norm=_short(e["grad_norm"]))
    if e["nonfinite"]:
        text += ", " + t("{count} tensors not finite", count=len(e["nonfinite"]))
        if e["fault"]:
            text += "; " + t("first: {what}", what=_fault(e["fault"]))
    elif e["g2_over_v"]:
        name, ratio = next(iter(e["g2_over_v"].items()))
        text += ", " + t("g2/v up to {ratio} ({name})", ratio=_short(ratio), name=clean(name))
    return text


def _weights(which: str) -> str:
    if which == "failed":
        return t("of the step that failed")
    return t("of the snapshot") if which == "snapshot" else t("of the start")


def _fault(fault: dict[str, Any]) -> str:
    layer = f" ({clean(fault['tensor'])})" if fault.get("tensor") else ""
    return f"{clean(fault.get('op'))}{layer}: {clean(fault.get('what'))}"


def _count(summaries: Sequence[TensorSummary]) -> str:
    bad = sum(s.nonfinite > 0 for s in summaries)
    text = t("{count} tensors", count=len(summaries))
    return text + (", " + t("{bad} of them not finite", bad=bad) if bad else "")


def _size(s: TensorSummary) -> float:
    return max(abs(s.least or 0.0), abs(s.largest or 0.0))


def _short(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, int | float) else clean(value)
