"""Runs a recorded script again, up to its first optimizer steps, to replay what its black box holds."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trimtab._errors import TrimtabError
from trimtab.runs._redact import MASK

from ._program import parse_program

_SHOWN_LINES = 5
# Trackers log nothing of a replay.
_OFFLINE = {"WANDB_MODE": "disabled", "COMET_MODE": "disabled", "NEPTUNE_MODE": "debug", "MLFLOW_TRACKING_URI": ""}


class Again(NamedTuple):
    """A command to run, in which directory, and whether the script has changed since the run."""

    command: tuple[str, ...]
    directory: str
    changed: bool = False


class CannotRepeatError(TrimtabError):
    """The recorded command cannot be run again, or is not ours to run."""


def recorded_program(meta: Mapping[str, Any]) -> Again:
    """The script of a run.json with its arguments, under this interpreter.

    A run may be a stranger's: nothing but a script that lies on the host on which it was recorded, and that
    belongs to the user, is taken; never a module, code on the command line, or a command of another kind.
    """
    words = meta.get("command")
    script, directory = meta.get("script"), meta.get("cwd")
    if not (isinstance(words, list) and all(isinstance(word, str) for word in words) and words):
        raise CannotRepeatError("run.json does not say which command was run")
    if any(MASK in word for word in (*words, str(script), str(directory))):
        raise CannotRepeatError("the command held secrets, which are not recorded: it cannot be repeated as it was")
    is_python = os.path.basename(words[0]).startswith("python")
    if not is_python or not isinstance(script, str) or not isinstance(directory, str):
        raise CannotRepeatError("it was not a script: a module, code or a command is not run from what a record says")
    if meta.get("host") != socket.gethostname():
        raise CannotRepeatError(f"it was recorded on another host ({str(meta.get('host'))[:60]!r})")
    place = _place_of(script, words, directory)
    if place is None or not _is_own(script):
        raise CannotRepeatError(f"there is no script {script[:200]!r} of yours any more")
    command = (sys.executable, script, *words[place + 1 :])
    return Again(command, directory, changed=_hash_of(script) != meta.get("script_sha256"))


def given_program(words: Sequence[str]) -> Again:
    """The command that the user gives."""
    return Again(parse_program(words).command, os.getcwd())


def run_again(again: Again, task: Mapping[str, Any]) -> dict[str, Any]:
    """Run the command with `task` for its training; what came out: experiments, problem, and the script's end.

    Its stdout is kept from ours, of stderr the last lines are returned.
    """
    with tempfile.TemporaryDirectory(prefix="trimtab-replay-") as scratch:
        result = os.path.join(scratch, "result")
        settings = {"socket": os.path.join(scratch, "none"), "main": os.getpid(), "replay": {**task, "result": result}}
        environment = {**os.environ, **_OFFLINE, "TRIMTAB_SESSION": json.dumps(settings)}
        environment.pop("TRIMTAB_REACHED", None)
        with open(os.path.join(scratch, "stderr"), "w+b") as errors:
            status = _status_of(again, environment, errors)
            errors.seek(0)
            last = errors.read()[-20_000:].decode("utf-8", "replace").strip().splitlines()[-_SHOWN_LINES:]
        try:
            found = dict(json.loads(Path(result).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            found = {"experiments": [], "problem": None}
    return {**found, "status": status, "stderr": last}


def _status_of(again: Again, environment: Mapping[str, str], errors: Any) -> int:
    try:
        process = subprocess.Popen(
            again.command,
            cwd=again.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    except OSError as error:
        raise CannotRepeatError(f"cannot start {again.command[0]}: {error.strerror}") from None
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise


def _place_of(script: str, words: Sequence[str], directory: str) -> int | None:
    """Where in the command the script stands, as it was typed."""
    for place, word in enumerate(words[1:], 1):
        path = os.path.join(directory, word)
        if os.path.exists(path) and (path == script or os.path.realpath(path) == os.path.realpath(script)):
            return place
        if os.path.isfile(os.path.join(path, "__main__.py")) and script == os.path.join(path, "__main__.py"):
            return place
    return None


def _is_own(script: str) -> bool:
    try:
        return os.path.isfile(script) and os.stat(script).st_uid == os.getuid()
    except OSError:
        return False


def _hash_of(script: str) -> str | None:
    try:
        with open(script, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None
