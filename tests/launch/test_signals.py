"""Signals reach the training as if it had been started without us, each once, and its end is ours."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Bench

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what is tested is Linux's own")
COUNTER = r"""
import os, signal, sys, time
def on(number, frame):
    os.write(1, f"got {signal.Signals(number).name}\n".encode())  # print is not reentrant
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT"):
    signal.signal(getattr(signal, name), on)
print("ready", os.getpid(), flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    time.sleep(0.02)
"""
SLEEPER = "import os, time\nprint('ready', os.getpid(), flush=True)\ntime.sleep(30)\n"


def start(bench: Bench, script: str, *arguments: str, **options: object) -> tuple[subprocess.Popen[str], int]:
    """Start a script under watch and wait until it runs; the supervisor, and the script's process id."""
    bench.write({"script.py": script})
    process = bench.start([sys.executable, "-m", "trimtab", "run", "script.py", *arguments], **options)
    assert process.stdout is not None
    return process, int(process.stdout.readline().split()[1])


@pytest.fixture(autouse=True)
def hang_ups_are_not_ignored() -> Iterator[None]:
    """Under nohup they are, here and in all that is started here, as under plain Python."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT"])
def test_a_signal_to_us_reaches_the_script_once(bench: Bench, name: str) -> None:
    process, _ = start(bench, COUNTER, "0.5")
    process.send_signal(getattr(signal, name))
    stdout, _ = process.communicate(timeout=60)
    assert stdout == f"got {name}\n"
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_we_die_of_the_signal_that_killed_the_script(bench: Bench, name: str) -> None:
    process, _ = start(bench, SLEEPER)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == -getattr(signal, name)


def test_an_interrupted_script_prints_its_traceback(bench: Bench) -> None:
    process, _ = start(bench, SLEEPER)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert [line for line in stderr.splitlines() if not line.startswith("trimtab:")][-1] == "KeyboardInterrupt"
    assert "trimtab/" not in stderr


@LINUX
def test_a_script_dies_with_us(bench: Bench) -> None:
    process, script = start(bench, SLEEPER)
    process.kill()
    process.communicate(timeout=10)
    assert until(lambda: not is_alive(script))


@LINUX
def test_a_stopped_job_goes_on(bench: Bench) -> None:
    process, _ = start(bench, COUNTER, "0.6", start_new_session=True)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(0.2)
    assert state(process.pid) == "T"
    os.killpg(process.pid, signal.SIGCONT)
    stdout, _ = process.communicate(timeout=60)
    assert (stdout, process.returncode) == ("", 0)


class Terminal:
    """A terminal with a command in its foreground, as a shell would start it."""

    def __init__(self, directory: Path, command: list[str], environment: dict[str, str]) -> None:
        self.pid, self.keys = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(command[0], command, environment)
        self.shown = ""

    def until_shows(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.shown and time.monotonic() < deadline:
            if not self._read():
                break
        assert text in self.shown

    def status(self) -> int:
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        try:
            data = os.read(self.keys, 4096)
        except OSError:
            return False
        self.shown += data.decode()
        return bool(data)


@pytest.fixture
def in_terminal(bench: Bench) -> Iterator[Callable[[list[str]], Terminal]]:
    opened: list[Terminal] = []

    def begin(command: list[str]) -> Terminal:
        opened.append(Terminal(bench.directory, command, bench.environment))
        return opened[-1]

    yield begin
    for terminal in opened:
        os.close(terminal.keys)


@LINUX
@pytest.mark.filterwarnings("ignore:This process")
def test_ctrl_c_at_a_terminal_arrives_once(bench: Bench, in_terminal: Callable[[list[str]], Terminal]) -> None:
    bench.write({"script.py": COUNTER})
    terminal = in_terminal([sys.executable, "-m", "trimtab", "run", "script.py", "0.7"])
    terminal.until_shows("ready")
    os.write(terminal.keys, b"\x03")
    terminal.until_shows("got SIGINT")
    assert terminal.status() == 0
    assert terminal.shown.count("got SIGINT") == 1


@LINUX
@pytest.mark.filterwarnings("ignore:This process")
def test_ctrl_c_at_a_terminal_ends_as_under_plain_python(
    bench: Bench, in_terminal: Callable[[list[str]], Terminal]
) -> None:
    bench.write({"script.py": SLEEPER})
    statuses = []
    for command in (["script.py"], ["-m", "trimtab", "run", "script.py"]):
        terminal = in_terminal([sys.executable, *command])
        terminal.until_shows("ready")
        os.write(terminal.keys, b"\x03")
        statuses.append(terminal.status())
        assert terminal.shown.count("KeyboardInterrupt") == 1
    assert statuses == [-signal.SIGINT, -signal.SIGINT]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}") and state(pid) != "Z"


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
