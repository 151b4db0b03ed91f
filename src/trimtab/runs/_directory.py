"""Run directories: their names, how one is claimed, what makes one of them ours."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from .._errors import TrimtabError
from ..vitals import TABLES
from ._parts import all_parts, superseded

RUNS = ".trimtab"


class RunExistsError(TrimtabError):
    """`--out` names a directory that already holds something."""


def claim_directory(
    program: str, on_trouble: Callable[[str], None], *, out: Path | None = None, parent: Path | None = None
) -> Path | None:
    """Make the directory of a new run, one that no other run can get, and return its absolute path.

    It is `out`, which may exist if it is empty, or a new one named after date, time and `program`
    under `parent` (`.trimtab` here). None, and one sentence to `on_trouble`, where the disk refuses.
    """
    try:
        if out is not None:
            return _claim_out(out.absolute())
        return _claim_new((parent or Path(RUNS)).absolute(), program)
    except OSError as error:
        place = out or parent or Path(RUNS)
        on_trouble(f"cannot make a run directory at {place}: {error.strerror}; the run is kept in memory only")
        return None


def is_run(path: Path) -> bool:
    """A directory with a run.json, or with a table of ours if that was lost."""
    if os.path.isfile(path / "run.json"):
        return True
    return any(all_parts(path / name) for name in TABLES)


def tidy(path: Path) -> None:
    """Delete the pieces that a merge cut short has left beside the merged part, where that is allowed.

    Only where the merged part is whole. Safe while the run goes on: its recorder would do the same.
    """
    for name in TABLES:
        parts = all_parts(path / name)
        inner = superseded(parts)
        if inner and _all_whole([part.path for part in parts if part not in inner]):
            for part in inner:
                with contextlib.suppress(OSError):
                    part.path.unlink()


def _claim_out(out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        out.mkdir()
    except FileExistsError:
        if not out.is_dir():
            raise RunExistsError(f"--out {out} is a file; name a new directory") from None
        if any(out.iterdir()):
            raise RunExistsError(f"--out {out} exists and is not empty; name a new directory") from None
    _keep_out_of_git(out)
    return out


def _claim_new(parent: Path, program: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    _keep_out_of_git(parent)
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", program).strip("-.")[:40] or "run"
    name = f"{time.strftime('%Y-%m-%d-%H%M%S')}-{word}"
    number = 1
    while True:
        path = parent / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def _keep_out_of_git(directory: Path) -> None:
    ignore = directory / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _all_whole(paths: list[Path]) -> bool:
    """Each file ends as a Parquet file ends."""
    try:
        return all(_tail(path) == b"PAR1" for path in paths)
    except OSError:
        return False


def _tail(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        return file.read()
