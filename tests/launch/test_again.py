"""Which recorded commands are run again: none of a stranger's."""

from __future__ import annotations

import os
import socket
import sys

import pytest

from trimtab.launch._again import CannotRepeatError, recorded_program
from trimtab.runs import describe_run


@pytest.fixture
def meta(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("pass")
    return describe_run([sys.executable, "-X", "dev", "train.py", "--lr", "0.1"])


def test_a_script_of_ones_own_is_run_with_its_arguments(meta, tmp_path):
    again = recorded_program(meta)
    assert again.command == (sys.executable, str(tmp_path / "train.py"), "--lr", "0.1")
    assert (again.directory, again.changed) == (str(tmp_path), False)
    (tmp_path / "train.py").write_text("fixed = True")
    assert recorded_program(meta).changed


def test_a_script_that_belongs_to_another_user_is_not_run(meta, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: -1)
    with pytest.raises(CannotRepeatError, match="of yours"):
        recorded_program(meta)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"host": socket.gethostname() + "-elsewhere"}, "another host"),
        ({"host": None}, "another host"),
        ({"command": ["/bin/sh", "train.py"]}, "was not a script"),
        ({"command": ["/usr/bin/env", "python", "train.py"]}, "was not a script"),
        ({"command": [sys.executable, "-c", "pass"], "script": None}, "was not a script"),
        ({"command": [sys.executable, "-m", "train"], "script": None}, "was not a script"),
        ({"script": "/bin/ls"}, "of yours"),
        ({"command": None}, "which command"),
        ({"command": [sys.executable, 3]}, "which command"),
        ({"command": [sys.executable, "train.py", "--key", "[redacted]"]}, "secrets"),
        ({"cwd": None}, "was not a script"),
    ],
)
def test_nothing_of_a_strangers_run_is_executed(meta, change, says):
    with pytest.raises(CannotRepeatError, match=says):
        recorded_program(meta | change)
