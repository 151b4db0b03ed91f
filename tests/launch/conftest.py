"""Runs programs under plain Python and under `trimtab run`, and compares what the user can see of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

QUIET = {"TRIMTAB_QUIET": "1"}


class Outcome(NamedTuple):
    status: int
    stdout: str
    stderr: str


def without_addresses(text: str) -> str:
    """`<function f at 0x7f0012345678>` differs from run to run."""
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", text)


class Bench:
    """A directory of small scripts, and the two ways to run them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TRIMTAB_", "PYTHON", "COVERAGE"))
        }
        self.environment["PYTHONHASHSEED"] = "0"

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def plain(self, arguments: Sequence[str], *, flags: Sequence[str] = (), stdin: str = "") -> Outcome:
        return self.run([sys.executable, *flags, *arguments], stdin=stdin)

    def watched(
        self,
        arguments: Sequence[str],
        *,
        flags: Sequence[str] = (),
        stdin: str = "",
        ours: Sequence[str] = (),
        quiet: bool = True,
    ) -> Outcome:
        command = [sys.executable, *flags, "-m", "trimtab", "run", *ours, *arguments]
        return self.run(command, stdin=stdin, extra=QUIET if quiet else {})

    def run(self, command: Sequence[str], *, stdin: str = "", extra: dict[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**self.environment, **(extra or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, without_addresses(done.stdout), without_addresses(done.stderr))

    def start(self, command: Sequence[str], **options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.directory, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, **options,  # type: ignore[call-overload]
        )  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
