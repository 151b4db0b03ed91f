"""What is to be run: a script, `-m module`, `-c code`, a directory, or a command; as plain Python would take it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from trimtab._errors import TrimtabError

_FLAGS_WITH_VALUE = "WX"


class Program(NamedTuple):
    """A training as the user would start it.

    `command` is what is executed, `name` a word for people.
    """

    command: tuple[str, ...]
    name: str


def parse_program(arguments: Sequence[str], flags: Sequence[str] = ()) -> Program:
    """Read what stands after trimtab's own options; `flags` are the interpreter's (`interpreter_flags`)."""
    if not arguments:
        raise TrimtabError("nothing to run; give a script: trimtab run train.py ARGS...")
    given = tuple(arguments)
    first, *rest = given
    python = (sys.executable, *flags)
    if first[:2] in ("-m", "-c"):
        if len(first) == 2 and not rest:
            raise TrimtabError(f"{first} needs a {'module' if first == '-m' else 'piece of code'} after it")
        value = first[2:] or rest[0]
        return Program((*python, *given), value if first[1] == "m" else "command")
    if first == "-":
        return Program((*python, *given), "stdin")
    if first.startswith("-"):
        raise TrimtabError(
            f"unknown option {first} of trimtab run; options of Python go before: "
            f"{os.path.basename(sys.executable)} {first} -m trimtab run ..."
        )
    if not os.path.exists(first):
        found = _find_command(first)
        if found is not None:
            return Program((found, *rest), first)
        raise TrimtabError(_missing(first))
    if os.path.isdir(first) and not os.path.isfile(os.path.join(first, "__main__.py")):
        raise TrimtabError(f"{first} is a directory without __main__.py; name the script inside it")
    if _is_foreign_executable(first):
        return Program((os.path.abspath(first), *rest), _stem(first))
    return Program((*python, *given), _stem(first))


def interpreter_flags(original: Sequence[str] | None = None) -> list[str]:
    """The options with which this interpreter was started, up to the script, `-m` or `-c`.

    >>> interpreter_flags(["python", "-X", "dev", "-uP", "-m", "trimtab", "run", "-c", "pass"])
    ['-X', 'dev', '-uP']
    """
    words = list(sys.orig_argv if original is None else original)[1:]
    flags: list[str] = []
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word.startswith("--"):
            flags.append(word)
            if word == "--check-hash-based-pycs" and words:
                flags.append(words.pop(0))
            continue
        letters, end = _cut(word[1:])
        if letters:
            flags.append("-" + letters)
        if end == "value" and words:
            flags.append(words.pop(0))
        if end == "stop":
            break
    return flags


def _cut(letters: str) -> tuple[str, str]:
    """One cluster of option letters without its `m` or `c`, and what follows it: "", "value" or "stop"."""
    for i, letter in enumerate(letters):
        if letter in "mc":
            return letters[:i], "stop"
        if letter in _FLAGS_WITH_VALUE:
            return letters, "" if letters[i + 1 :] else "value"
    return letters, ""


def _find_command(name: str) -> str | None:
    """A command such as torchrun, as the shell would find it, or beside this Python."""
    if os.sep in name or name.endswith(".py"):
        return None
    import shutil

    if shutil.which(name) is not None:
        return name
    return shutil.which(name, path=os.path.dirname(sys.executable))


def _is_foreign_executable(path: str) -> bool:
    """A file that the system runs by its first line, and not with Python."""
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        return False
    with open(path, "rb") as file:
        start = file.read(256)
    return start.startswith(b"#!") and b"python" not in start.split(b"\n")[0]


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(os.path.abspath(path)))[0]


def _missing(path: str) -> str:
    import difflib

    folder, name = os.path.split(path)
    try:
        files = [entry for entry in os.listdir(folder or ".") if entry.endswith(".py")]
    except OSError:
        return f"no script {path!r}: there is no directory {folder!r}"
    near = difflib.get_close_matches(name, files, n=1) or difflib.get_close_matches(name + ".py", files, n=1)
    hint = f"; did you mean {os.path.join(folder, near[0])}?" if near else ""
    return f"no script {path!r} in {os.path.abspath(folder or '.')}{hint}"
