"""Which commit a directory is at, read from git's own files: to start git would cost more than all the rest."""

from __future__ import annotations

import re
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def head_of(directory: Path) -> dict[str, str | None] | None:
    """{"commit", "branch", "root"} of the work tree around `directory`; None outside of one.

    A branch of None is a detached head, a commit of None a branch without commits.
    """
    try:
        for root in (directory, *directory.parents):
            if (root / ".git").exists():
                return {**_head(_git_directory(root / ".git")), "root": str(root)}
    except (OSError, UnicodeDecodeError):
        pass
    return None


def is_dirty(root: Path, timeout: float = 2.0) -> bool | None:
    """Whether tracked files differ from the commit; None where git cannot say in time."""
    import subprocess

    command = ["git", "--no-optional-locks", "status", "--porcelain", "--untracked-files=no"]
    try:
        result = subprocess.run(
            command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return bool(result.stdout.strip())


def _git_directory(entry: Path) -> Path:
    """`.git` itself, or where it points to in a linked work tree or a submodule."""
    if entry.is_dir():
        return entry
    return entry.parent / entry.read_text().removeprefix("gitdir:").strip()


def _head(git: Path) -> dict[str, str | None]:
    text = (git / "HEAD").read_text().strip()
    if not text.startswith("ref:"):
        return {"commit": text if _COMMIT.fullmatch(text) else None, "branch": None}
    reference = text.removeprefix("ref:").strip()
    shared = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
    return {"commit": _commit_of(reference, git, shared), "branch": reference.removeprefix("refs/heads/")}


def _commit_of(reference: str, git: Path, shared: Path) -> str | None:
    for place in (git, shared):
        if (place / reference).is_file():
            return (place / reference).read_text().strip()
    if (shared / "packed-refs").is_file():
        for line in (shared / "packed-refs").read_text().splitlines():
            commit, _, name = line.partition(" ")
            if name == reference:
                return commit
    return None
