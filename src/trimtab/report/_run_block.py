"""The block "This run": steps, curves, the price of watching, where the record is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimtab.findings import Track, number, plural

from ._curves import tracks_of
from ._spark import sparkline
from ._style import clean, for_terminal, grid, line

if TYPE_CHECKING:
    from rich.table import Table

    from trimtab.findings import RecordLike, Verdict

SHORT_SECONDS = 3.0
CURVE_WIDTH = 24
MAX_OPTIMIZERS = 3
MAX_METRICS = 4
LOWER_IS_BETTER = {"loss", "nll", "err", "error", "mse", "rmse", "mae", "ppl", "perplexity", "bpc", "wer", "cer"}
HIGHER_IS_BETTER = {"acc", "accuracy", "top1", "top5", "f1", "auc", "auroc", "map", "iou", "miou", "bleu", "r2",
                    "precision", "recall", "reward", "psnr", "ssim"}  # fmt: skip


def run_block(verdict: Verdict, record: RecordLike, *, ascii_only: bool, running: bool = False) -> Table:
    table = grid()
    for label, text in _rows(verdict, record, ascii_only, running):
        table.add_row("", label, line(for_terminal(clean(text), ascii_only)))
    return table


def _rows(verdict: Verdict, record: RecordLike, ascii_only: bool, running: bool) -> Iterator[tuple[str, str]]:
    tracks = tracks_of(record)
    if tracks:
        yield "steps", _steps_text(verdict, tracks)
        first = [track for track in tracks if track.process == tracks[0].process]
        for track in first[:MAX_OPTIMIZERS]:
            yield from _track_rows(track, len(first) > 1, ascii_only)
        if len(first) > MAX_OPTIMIZERS:
            yield "", f"and {plural(len(first) - MAX_OPTIMIZERS, 'optimizer')} more"
        yield from _metric_rows(record, ascii_only)
        yield "watching", _watching_text(tracks)
    yield from _record_rows(record, running)


def _steps_text(verdict: Verdict, tracks: Sequence[Track]) -> str:
    begin = min(float(track.time[0]) for track in tracks)
    seconds = max(float(track.time[-1]) for track in tracks) - begin
    rate = f", {number(verdict.steps / seconds)} a second" if seconds > 0 else ""
    processes = len({track.process for track in tracks})
    ranks = f", in each of {processes} processes" if processes > 1 else ""
    return f"{verdict.steps:,} in {duration(seconds)}{rate}{ranks}"


def _track_rows(track: Track, several: bool, ascii_only: bool) -> Iterator[tuple[str, str]]:
    if several:
        yield f"optim. {track.optimizer}", f"{optimizer_text(track)}, {plural(len(track), 'step')}"
    if len(track.loss):
        chance = f"  (chance {number(track.chance)})" if np.isfinite(track.chance) else ""
        yield "loss", curve_text(track.loss, ascii_only) + chance
    norms = np.asarray(track.columns["grad_norm_raw"], dtype=np.float64)
    if np.isfinite(norms).any():
        yield "gradient", curve_text(norms, ascii_only) + ("  before the clip" if track.clipped else "")
    if track.clipped:
        yield "clipped", _clip_text(track)
    yield "rate", _rate_text(track, several, ascii_only)


def _clip_text(track: Track) -> str:
    """ "at 97% of the steps, to at most 1": how often the script's own clip was at work, and the norm it left."""
    raw, applied = (np.asarray(track.columns[name], dtype=np.float64) for name in ("grad_norm_raw", "grad_norm"))
    both = np.isfinite(raw) & np.isfinite(applied)
    at_work = both & (applied < 0.999 * raw)
    return f"at {at_work.sum() / both.sum():.0%} of the steps, to at most {number(float(applied[at_work].max()))}"


def _rate_text(track: Track, several: bool, ascii_only: bool) -> str:
    rates = np.asarray(track.columns["lr"], dtype=np.float64)
    known = rates[np.isfinite(rates)]
    name = "" if several else optimizer_text(track)
    if not len(known):
        return name or "not known"
    low, high = float(known.min()), float(known.max())
    text = number(high) if low == high else curve_text(known, ascii_only)
    return text + (f"  {name}" if name else "")


def optimizer_text(track: Track) -> str:
    """ "Adam on MLP"."""
    info = track.series.info
    words = [str(info.get("class") or "").rpartition(".")[2], str(info.get("model") or "").rpartition(".")[2]]
    return " on ".join(word for word in words if word) or f"optimizer {track.optimizer}"


def _metric_rows(record: RecordLike, ascii_only: bool) -> Iterator[tuple[str, str]]:
    metrics = record.metrics()
    names = list(dict.fromkeys(str(name) for name in metrics["name"])) if metrics and len(metrics["name"]) else []
    for name in names[:MAX_METRICS]:
        rows = np.asarray([str(other) == name for other in metrics["name"]])
        values = np.asarray(metrics["value"], dtype=np.float64)[rows]
        yield "metric", f"{curve_text(values, ascii_only)}{_best_text(values, _direction(name, record))}  {name}"
    if len(names) > MAX_METRICS:
        yield "", f"and {plural(len(names) - MAX_METRICS, 'metric')} more"


def _best_text(values: np.ndarray[tuple[int], np.dtype[np.float64]], direction: str | None) -> str:
    """ ", best 0.0712", where the last value is not it and it is known which way is better."""
    finite = values[np.isfinite(values)]
    if direction is None or len(finite) < 2:
        return ""
    best = number(float(finite.min() if direction == "min" else finite.max()))
    return "" if best == number(float(values[-1])) else f", best {best}"


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
        yield "record", "in memory only: nothing was written"
        return
    damage = list(getattr(record, "damage", ()))
    yield "record", shown_path(path)
    if not running and not record.meta.get("ended"):
        yield "", "it breaks off: its recorder was killed before the run had ended"
    elif not running and record.meta.get("status") is None:
        yield "", "how the script ended is not known: trimtab was killed, and the script with it"
    for sentence in damage[:3]:
        yield "damaged", str(sentence)
    if len(damage) > 3:
        yield "", f"and {len(damage) - 3} more"


def curve_text(values: Any, ascii_only: bool) -> str:
    """ "▇▅▃▁▁▁  2.31 → 0.007"; the largest and least value are named where the ends do not show them."""
    curve = np.asarray(values, dtype=np.float64)
    if not len(curve):
        return "not seen"
    ends = f"{number(float(curve[0]))} → {number(float(curve[-1]))}" if len(curve) > 1 else number(float(curve[0]))
    drawn = sparkline(curve, CURVE_WIDTH, ascii_only=ascii_only) if len(curve) > 1 else ""
    finite = curve[np.isfinite(curve)]
    peak = float(finite.max()) if len(finite) else float("nan")
    top = f", peak {number(peak)}" if len(finite) and peak > 2 * max(abs(finite[0]), abs(finite[-1])) else ""
    return f"{drawn:<{CURVE_WIDTH}}  {ends}{top}" if drawn else ends


def _watching_text(tracks: Sequence[Track]) -> str:
    """What measuring took of the time between first and last step, in the first process; of a run of moments, in
    which the fixed costs are most of it, the time itself."""
    first = [track for track in tracks if track.process == tracks[0].process]
    seconds = max(float(t.time[-1]) for t in first) - min(float(t.time[0]) for t in first)
    spent = sum(float(np.nansum(t.columns["watch_seconds"][1:])) for t in first)
    return f"{spent / seconds:.1%} of the time" if seconds > SHORT_SECONDS else f"took {duration(spent)}"


def duration(seconds: float) -> str:
    """ "12.3 s", "4 min 10 s", "2 h 3 min"."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def shown_path(path: Path) -> str:
    """The path as it can be typed from here, if that is shorter."""
    try:
        near = os.path.relpath(path)
    except (OSError, ValueError):
        return str(path)
    return near if len(near) < len(str(path)) else str(path)
