"""The runs under a directory, told from their small files alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._metadata import is_alive, read_json


@dataclass(frozen=True)
class RunSummary:
    """One line about a run. `meta` is run.json, `verdict` verdict.json (empty until there is one)."""

    path: Path
    meta: dict[str, Any]
    verdict: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def command(self) -> str:
        words = self.meta.get("command")
        return " ".join(map(str, words)) if isinstance(words, list) else ""

    @property
    def started(self) -> str:
        return str(self.meta.get("started") or "")

    @property
    def running(self) -> bool:
        return not self.meta.get("ended") and is_alive(self.meta.get("recorder"))

    @property
    def outcome(self) -> str:
        """The verdict's outcome; "running", or "unjudged" where nobody has judged yet."""
        if self.verdict.get("outcome"):
            return str(self.verdict["outcome"])
        return "running" if self.running else "unjudged"


def list_runs(root: Path) -> list[RunSummary]:
    """Every run directly under `root`, oldest first. Opens no table: hundreds take a fraction of a second."""
    found = []
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_dir(follow_symlinks=False) and (path / "run.json").is_file():
                    meta, verdict = read_json(path / "run.json"), read_json(path / "verdict.json")
                    found.append(RunSummary(path, meta, verdict))
    except OSError:
        return []
    return sorted(found, key=lambda run: (run.started, run.name))
