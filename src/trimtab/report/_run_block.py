"""The block "This run": steps, curves, the price of watching, where the record is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trimtab.findings import Track, number, plural

from .._language import t
from ._curves import tracks_of
from ._seen import curve_text
from ._style import clean, folded, for_terminal, grid

if TYPE_CHECKING:
    from rich.table import Table

    from trimtab.findings import Guarded, RecordLike, Verdict

SHORT_SECONDS = 3.0
MAX_OPTIMIZERS = 3
MAX_METRICS = 4
LOWER_IS_BETTER = {"loss", "nll", "err", "error", "mse", "rmse", "mae", "ppl", "perplexity", "bpc", "wer", "cer"}
HIGHER_IS_BETTER = {"acc", "accuracy", "top1", "top5", "f1", "auc", "auroc", "map", "iou", "miou", "bleu", "r2",
                    "precision", "recall", "reward", "psnr", "ssim"}  # fmt: skip


def run_block(verdict: Verdict, record: RecordLike, *, ascii_only: bool, running: bool = False) -> Table:
    table = grid()
    for label, text in _rows(verdict, record, ascii_only, running):
        table.add_row("", for_terminal(label, ascii_only), folded(for_terminal(clean(text), ascii_only)))
    return table


def _rows(verdict: Verdict, record: RecordLike, ascii_only: bool, running: bool) -> Iterator[tuple[str, str]]:
    tracks = tracks_of(record)
    if tracks:
        yield t("steps"), _steps_text(verdict, tracks)
        first = [track for track in tracks if track.process == tracks[0].process]
        for track in first[:MAX_OPTIMIZERS]:
            yield from _track_rows(track, len(first) > 1, bool(verdict.guard), ascii_only)
        if len(first) > MAX_OPTIMIZERS:
            yield "", t("and {what} more", what=plural(len(first) - MAX_OPTIMIZERS, "optimizer"))
        yield from _guard_rows(verdict)
        yield from _metric_rows(record, ascii_only)
        yield t("watching"), _watching_text(tracks)
    yield from _record_rows(record, running)


def _steps_text(verdict: Verdict, tracks: Sequence[Track]) -> str:
    begin = min(float(track.time[0]) for track in tracks)
    seconds = max(float(track.time[-1]) for track in tracks) - begin
    texts = [t("{steps} in {time}", steps=f"{verdict.steps:,}", time=duration(seconds))]
    if seconds > 0:
        texts.append(t("{rate} a second", rate=number(verdict.steps / seconds)))
    if (processes := len({track.process for track in tracks})) > 1:
        texts.append(t("in each of {count} processes", count=processes))
    return t(", ").join(texts)


def _track_rows(track: Track, several: bool, guarded: bool, ascii_only: bool) -> Iterator[tuple[str, str]]:
    if several:
        yield (
            t("optim. {index}", index=track.optimizer),
            t(", ").join((optimizer_text(track), plural(len(track), "step"))),
        )
    if len(track.loss):
        chance = t("chance {level}", level=number(track.chance)) if np.isfinite(track.chance) else ""
        yield t("loss"), curve_text(track.loss, ascii_only) + (f"  ({chance})" if chance else "")
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)
    if np.isfinite(norms).any():
        yield t("gradient"), curve_text(norms, ascii_only) + ("  " + t("before the clip") if track.clipped else "")
    if track.clipped and not guarded:
        yield t("clipped"), _clip_text(track)
    yield t("rate"), _rate_text(track, several, ascii_only)


def _guard_rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    label = t("guard")
    for policy in verdict.guard:
        yield label, policy.warns or _guard_text(policy)
        label = ""


def _guard_text(policy: Guarded) -> str:
    """ "skip=spike left out 3 of 500 steps"."""
    name, steps = policy.policy, plural(policy.steps, "step")
    if not policy.acted:
        return t("{policy} had nothing to do in {steps}", policy=name, steps=steps)
    if policy.went_back:
        count, times = f"{policy.skipped:,}", plural(policy.went_back, "time")
        return t(
            "{policy} went back {times}, and left out {count} of {steps}",
            policy=name,
            times=times,
            count=count,
            steps=steps,
        )
    if policy.acted == policy.skipped:
        return t("{policy} left out {count} of {steps}", policy=name, count=f"{policy.skipped:,}", steps=steps)
    count = f"{policy.acted - policy.skipped:,}"
    if policy.least_scale < 1.0:
        least = number(policy.least_scale)
        return t(
            "{policy} scaled {count} of {steps}, at most by {scale}", policy=name, count=count, steps=steps, scale=least
        )
    if policy.least_lr_scale < 1.0:
        least = number(policy.least_lr_scale)
        return t(
            "{policy} cut the learning rate of {count} of {steps}, at most by {scale}",
            policy=name,
            count=count,
            steps=steps,
            scale=least,
        )
    return t("{policy} changed {count} of {steps}", policy=name, count=count, steps=steps)


def _clip_text(track: Track) -> str:
    """ "at 97% of the steps, to at most 1": how often the script's own clip was at work, and the norm it left."""
    raw, applied = (np.asarray(track.columns[name], dtype=np.float64) for name in ("grad_norm_raw", "grad_norm"))
    both = np.isfinite(raw) & np.isfinite(applied)
    at_work = both & (applied < 0.999 * raw)
    share, limit = at_work.sum() / both.sum(), float(applied[at_work].max())
    return t("at {share} of the steps, to at most {limit}", share=f"{share:.0%}", limit=number(limit))


def _rate_text(track: Track, several: bool, ascii_only: bool) -> str:
    rates = np.asarray(track.columns["lr"], dtype=np.float64)
    known = rates[np.isfinite(rates)]
    name = "" if several else optimizer_text(track)
    if not len(known):
        return name or t("not known")
    low, high = float(known.min()), float(known.max())
    text = number(high) if low == high else curve_text(known, ascii_only)
    return text + (f"  {name}" if name else "")


def optimizer_text(track: Track) -> str:
    """ "Adam on MLP"."""
    info = track.series.info
    optimizer, model = (str(info.get(key) or "").rpartition(".")[2] for key in ("class", "model"))
    if optimizer and model:
        return t("{optimizer} on {model}", optimizer=optimizer, model=model)
    return optimizer or model or t("optimizer {index}", index=track.optimizer)


def _metric_rows(record: RecordLike, ascii_only: bool) -> Iterator[tuple[str, str]]:
    metrics = record.metrics()
    names = list(dict.fromkeys(str(name) for name in metrics["name"])) if metrics and len(metrics["name"]) else []
    for name in names[:MAX_METRICS]:
        rows = np.asarray([str(other) == name for other in metrics["name"]])
        values = np.asarray(metrics["value"], dtype=np.float64)[rows]
        yield t("metric"), f"{curve_text(values, ascii_only)}{_best_text(values, _direction(name, record))}  {name}"
    if len(names) > MAX_METRICS:
        yield "", t("and {what} more", what=plural(len(names) - MAX_METRICS, "metric"))


def _best_text(values: np.ndarray[tuple[int], np.dtype[np.float64]], direction: str | None) -> str:
    """ ", best 0.0712", where the last value is not it and it is known which way is better."""
    finite = values[np.isfinite(values)]
    if direction is None or len(finite) < 2:
        return ""
    best = number(float(finite.min() if direction == "min" else finite.max()))
    return "" if best == number(float(values[-1])) else t(", ") + t("best {value}", value=best)


def _direction(name: str, record: RecordLike) -> str | None:
    """Which way a metric is better: as `--metric NAME:max` said, else as its name says; None where neither does."""
    for asked in record.meta.get("metrics") or ():
        if isinstance(asked, Sequence) and len(asked) == 3 and asked[0] == name and asked[2] in ("min", "max"):
            return str(asked[2])
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    return "min" if words & LOWER_IS_BETTER else "max" if words & HIGHER_IS_BETTER else None


def _record_rows(record: RecordLike, running: bool) -> Iterator[tuple[str, str]]:
    path = getattr(record, "path", None)
    if path is None:
        yield t("record"), t("in memory only: nothing was written")
        return
    damage = list(getattr(record, "damage", ()))
    yield t("record"), shown_path(path)
    if not running and not record.meta.get("ended"):
        yield "", t("it breaks off: its recorder was killed before the run had ended")
    elif not running and record.meta.get("status") is None:
        yield "", t("how the script ended is not known: trimtab was killed, and the script with it")
    for sentence in damage[:3]:
        yield t("damaged"), str(sentence)
    if len(damage) > 3:
        yield "", t("and {count} more", count=len(damage) - 3)


def _watching_text(tracks: Sequence[Track]) -> str:
    """What measuring took of the time between first and last step, in the first process; of a run of moments, in
    which the fixed costs are most of it, the time itself."""
    first = [track for track in tracks if track.process == tracks[0].process]
    seconds = max(float(track.time[-1]) for track in first) - min(float(track.time[0]) for track in first)
    spent = sum(float(np.nansum(track.columns["watch_seconds"][1:])) for track in first)
    if seconds > SHORT_SECONDS:
        return t("{share} of the time", share=f"{spent / seconds:.1%}")
    return t("took {time}", time=duration(spent))


def duration(seconds: float) -> str:
    """ "12.3 s", "4 min 10 s", "2 h 3 min"."""
    if seconds < 100:
        return t("{seconds} s", seconds=f"{seconds:.2g}" if seconds < 1 else f"{seconds:.1f}")
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    if hours:
        return t("{hours} h {minutes} min", hours=hours, minutes=left)
    return t("{minutes} min {seconds} s", minutes=minutes, seconds=rest)


def shown_path(path: Path) -> str:
    """The path as it can be typed from here, if that is shorter."""
    try:
        near = os.path.relpath(path)
    except (OSError, ValueError):
        return str(path)
    return near if len(near) < len(str(path)) else str(path)
