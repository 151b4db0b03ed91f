"""Show the runs, or one of them, as it stands or while it goes on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.runs import Record, RunSummary, list_runs
from trimtab.runs._metadata import is_alive, read_json, write_json

from .._language import speaking, spoken, t

if TYPE_CHECKING:
    from trimtab.findings import Verdict

RUNS = Path(".trimtab")
JUDGE_AT_MOST = 5  # runs without a verdict that a listing judges on the way


@dataclass(frozen=True)
class RunLine:
    """A run in the list of runs; what is not known is None."""

    name: str
    path: Path
    program: str
    started: str
    outcome: str
    steps: int | None
    loss: float | None
    seconds: float | None
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "path": str(self.path)}


@dataclass(frozen=True)
class Shown:
    """A run, its verdict, and whether it still goes on."""

    record: Record
    verdict: Verdict
    running: bool


def show_runs(root: Path = RUNS) -> list[RunLine]:
    """The runs of a directory, newest first. Killed runs that nobody has judged yet are judged now, a few at a time."""
    left = JUDGE_AT_MOST
    lines = []
    for run in reversed(list_runs(root)):
        verdict = run.verdict
        if not verdict and not run.running and left:
            left -= 1
            with contextlib.suppress(Exception):  # a run that cannot be read has its line all the same
                verdict = show_run(run.path).verdict.to_json()
        lines.append(_line(run, verdict))
    return lines


def show_run(name: str | Path, root: Path = RUNS) -> Shown:
    """One run by name, path or "latest", with its verdict: the one on disk, else judged now and kept there.

    What is kept is in English; another language that is spoken gets the verdict judged again from the record.
    """
    from trimtab.findings import judge

    record = Record.open(name, root=root)
    running = not record.ended and is_alive(record.meta.get("recorder"))
    if running:
        return Shown(record, judge(record, live=True), True)
    with speaking("en"):
        verdict = _kept_verdict(record) or _judged_and_kept(record)
    return Shown(record, verdict if spoken() == "en" else _spoken(record, verdict), False)


def _judged(record: Record) -> Verdict:
    from trimtab.findings import judge

    verdict = judge(record)
    if record.ended:
        return verdict
    broken = t("the record breaks off: its recorder was killed before the run had ended")
    return replace(verdict, reason=t("; ").join(filter(None, (verdict.reason, broken))))


def _judged_and_kept(record: Record) -> Verdict:
    verdict = _judged(record)
    if record.path is not None:
        with contextlib.suppress(OSError):
            write_json(record.path / "verdict.json", verdict.to_json())
    return verdict


def _spoken(record: Record, kept: Verdict) -> Verdict:
    """The verdict in the language spoken. Of an alarm that only the running training gave the record keeps no more
    than the trouble and its steps."""
    from trimtab.findings import with_alarms

    says = t("trimtab warned of it while the training ran")
    alarms = [replace(f, says=says, causes=(), consequences=()) for f in kept.findings if f.severity == "warning"]
    return with_alarms(_judged(record), alarms)


def follow_run(
    name: str | Path, root: Path = RUNS, *, seconds: float = 1.0, say: Callable[[str], object] = lambda _: None
) -> Iterator[Shown]:
    """The run again and again, as it goes on, until it has ended; at most a fifth of the time is spent on reading.

    Where "latest" is asked for and there is none yet, it is waited for, which `say` is told.
    """
    path = _awaited(root, seconds, say) if name == "latest" else Record.open(name, root=root).path or Path(name)
    while True:
        begin = time.monotonic()
        shown = show_run(path, root)
        yield shown
        if not shown.running:
            return
        time.sleep(max(seconds, 4 * (time.monotonic() - begin)))


def _awaited(root: Path, seconds: float, say: Callable[[str], object]) -> Path:
    """The newest run under `root`, once there is one."""
    runs = list_runs(root)
    if not runs:
        say(t("no run under {root} yet; waiting for one (Ctrl-C ends the waiting)", root=root))
    while not runs:
        time.sleep(seconds)
        runs = list_runs(root)
    return runs[-1].path


def _kept_verdict(record: Record) -> Verdict | None:
    from trimtab.findings import Verdict

    data = read_json(record.path / "verdict.json") if record.path is not None else {}
    try:
        return Verdict.from_json(data) if data.get("schema") == 1 else None
    except (KeyError, TypeError, ValueError):
        return None


def _line(run: RunSummary, verdict: dict[str, Any]) -> RunLine:
    loss = verdict.get("loss")
    last = loss.get("last") if isinstance(loss, dict) else None
    steps = verdict.get("steps")
    return RunLine(
        name=run.name,
        path=run.path,
        program=str(run.meta.get("program") or run.command),
        started=run.started,
        outcome=str(verdict.get("outcome") or run.outcome),
        steps=steps if isinstance(steps, int) else None,
        loss=float(last) if isinstance(last, int | float) or last in ("nan", "inf", "-inf") else None,
        seconds=_seconds(run.meta),
        bytes=_size(run.path),
    )


def _seconds(meta: dict[str, Any]) -> float | None:
    try:
        begin, end = (datetime.fromisoformat(str(meta[key])) for key in ("started", "ended"))
        return (end - begin).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None


def _size(path: Path) -> int:
    total = 0
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() and not file.is_symlink() else 0
    return total
