"""Delete runs: those under `.trimtab` that are too old or too many, or those that are named."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .._errors import NoSuchRunError, TrimtabError
from ..runs import RunSummary, list_runs
from ..runs._directory import RUNS
from ..runs._metadata import read_json
from ..vitals import TABLES

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_OURS = {*TABLES, "run.json", "verdict.json", "blackbox", ".gitignore"}


@dataclass(frozen=True)
class Removal:
    """One run: what it takes on disk, and whether it was removed or why not."""

    run: RunSummary
    nbytes: int
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"name": self.run.name, "path": str(self.run.path), "bytes": self.nbytes, "error": self.error}


def seconds_of(text: str) -> float:
    """Length of time in a text such as `7d`, `12h`, `30m` or `2w`.

    >>> seconds_of("7d")
    604800.0
    """
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip())
    if match is None:
        raise TrimtabError(f"a length of time is a number and one of s, m, h, d, w (7d, 12h); got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def clean(
    names: Sequence[str] = (),
    *,
    keep: int | None = None,
    older_than: float | None = None,
    dry_run: bool = False,
    root: Path | None = None,
) -> list[Removal]:
    """Remove runs and say which: the named ones, else all under `root` that no limit protects.

    `keep` protects the newest that many, `older_than` those begun within that many seconds; a run
    under way is always left. Symbolic links are never followed. Raises NoSuchRunError for a name that is no run,
    before anything is removed.
    """
    root = root or Path(RUNS)
    if names:
        runs = [_named(name, root) for name in names]
    elif keep is None and older_than is None:
        raise TrimtabError("say what may go: --keep N, --older-than 7d, or names of runs; `--keep 0` removes all")
    else:
        runs = _all_under(root)
    if keep is not None:
        runs = runs[: max(0, len(runs) - max(0, keep))]
    if older_than is not None:
        runs = [run for run in runs if _age(run) > older_than]
    return [_remove(run, dry_run) for run in runs]


def _all_under(root: Path) -> list[RunSummary]:
    if root.is_symlink():
        raise TrimtabError(f"{root} is a symbolic link, which is not followed; name the runs by their path")
    return [run for run in list_runs(root) if _is_ours(run) and not run.running]


def _named(name: str, root: Path) -> RunSummary:
    for path in (Path(name), root / name):
        if os.path.islink(path) or not os.path.isfile(path / "run.json"):
            continue
        run = RunSummary(path.absolute(), read_json(path / "run.json"), {})
        if not _is_ours(run):
            raise NoSuchRunError(f"{name!r} has a run.json that trimtab did not write: not touched")
        if run.running:
            raise TrimtabError(f"{name!r} is still under way; end it first")
        if path.absolute().parent != root.absolute():
            _refuse_other_files(path)
        return run
    raise NoSuchRunError(f"{name!r} is no run, by path or under {root}: not touched (`trimtab show` lists the runs)")


def _refuse_other_files(path: Path) -> None:
    """A directory that the user named with `--out` may have come to hold files of theirs."""
    others = sorted(entry for entry in os.listdir(path) if entry not in _OURS and not entry.startswith("."))
    if others:
        raise TrimtabError(f"{path} also holds {', '.join(others[:3])}: move that, or delete the directory yourself")


def _is_ours(run: RunSummary) -> bool:
    return isinstance(run.meta.get("schema"), int) and "trimtab" in run.meta and not run.path.is_symlink()


def _age(run: RunSummary) -> float:
    """Seconds since the run began."""
    with contextlib.suppress(ValueError, OverflowError):
        return time.time() - datetime.fromisoformat(run.started).timestamp()
    with contextlib.suppress(OSError):
        return time.time() - (run.path / "run.json").stat().st_mtime
    return 0.0


def _remove(run: RunSummary, dry_run: bool) -> Removal:
    nbytes = _size(run.path)
    if dry_run:
        return Removal(run, nbytes)
    try:
        shutil.rmtree(run.path)
    except OSError as error:
        return Removal(run, nbytes, error.strerror or str(error))
    return Removal(run, nbytes)


def _size(path: Path) -> int:
    """Bytes of all files below, links not followed."""
    total = 0
    for directory, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_size
    return total
