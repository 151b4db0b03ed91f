"""Whatever dies, the training goes on where it can and the record is complete up to then."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from .conftest import Bench
from .test_signals import LINUX, start, until

LOGGER = """
import os, sys, time, trimtab
for i in range(50):
    trimtab.log(acc=i / 50)
print("ready", os.getpid(), flush=True)
time.sleep(float(sys.argv[1]))
print("over", flush=True)
"""
RUN = [sys.executable, "-m", "trimtab", "run"]


def metrics(run: Path) -> list[tuple[str, float]]:
    from trimtab.runs import Record

    columns = Record.open(run).metrics()
    return list(zip(columns["name"].tolist(), columns["value"].tolist(), strict=True))


def only_run(bench: Bench) -> Path:
    [run] = [path for path in (bench.directory / ".trimtab").iterdir() if path.is_dir()]
    return run


def recorder_of(supervisor: int, script: int) -> int:
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    [recorder] = [int(child) for child in children if int(child) != script]
    return recorder


@LINUX
def test_the_record_is_finished_when_we_are_killed(bench: Bench) -> None:
    process, _ = start(bench, LOGGER, "30")
    process.kill()
    process.communicate(timeout=10)
    run = only_run(bench)
    assert until(lambda: (run / "verdict.json").exists(), 20)
    assert metrics(run) == [("acc", i / 50) for i in range(50)]


@LINUX
def test_a_killed_recorder_leaves_the_training_alone(bench: Bench) -> None:
    process, script = start(bench, LOGGER, "0.5")
    os.kill(recorder_of(process.pid, script), signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=20)
    assert (stdout, process.returncode) == ("over\n", 0)
    assert "recorder was killed by signal 9" in stderr
    assert not list(Path("/tmp").glob(f"trimtab-{process.pid}-*"))


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_what_a_killed_script_has_sent_is_kept(bench: Bench, name: str) -> None:
    process, script = start(bench, LOGGER, "30")
    os.kill(script, getattr(signal, name))
    process.communicate(timeout=20)
    assert process.returncode == -getattr(signal, name)
    run = only_run(bench)
    assert len(metrics(run)) == 50
    assert json.loads((run / "run.json").read_text())["status"] == -getattr(signal, name)


def test_an_exception_is_recorded(bench: Bench) -> None:
    bench.write({"script.py": "def f():\n    raise ValueError('boom')\nf()\n"})
    assert bench.watched(["script.py"], ours=["--out", "run"]).status == 1
    from trimtab.runs import Record

    events = Record.open(bench.directory / "run").events()
    [data] = [json.loads(d) for k, d in zip(events["kind"], events["data"], strict=True) if k == "exception"]
    assert (data["type"], data["message"], data["line"], data["function"]) == ("ValueError", "boom", 2, "f")
    assert json.loads((bench.directory / "run" / "verdict.json").read_text())["outcome"] == "crashed"


def test_an_exception_is_recorded_whatever_the_excepthook(bench: Bench) -> None:
    bench.write({"script.py": "import sys\nsys.excepthook = lambda *a: None\nraise ValueError('boom')\n"})
    assert bench.watched(["script.py"], ours=["--out", "run"]).status == 1
    assert json.loads((bench.directory / "run" / "verdict.json").read_text())["outcome"] == "crashed"


def test_a_script_that_fails_before_it_trains_leaves_no_run(bench: Bench) -> None:
    bench.write({"script.py": "raise ValueError('boom')"})
    outcome = bench.watched(["script.py"], quiet=False)
    assert outcome == bench.plain(["script.py"])
    assert [path.name for path in bench.directory.iterdir()] == ["script.py"]


def test_a_missing_package_is_told_in_one_line(bench: Bench) -> None:
    bench.write({"script.py": "import no_such_package"})
    outcome = bench.watched(["script.py"], quiet=False)
    plain = bench.plain(["script.py"])
    line = outcome.stderr.removeprefix(plain.stderr)
    assert line.startswith("trimtab: crashed: ModuleNotFoundError: No module named 'no_such_package' (")
    assert line.endswith(
        "script.py:1: import no_such_package); the package no_such_package is not installed here; "
        "try: pip install no_such_package\n"
    )
    assert outcome.status == plain.status
    assert [path.name for path in bench.directory.iterdir()] == ["script.py"]


def test_a_crash_before_any_step_is_told_where_the_record_was_asked_for(bench: Bench) -> None:
    """And its place is the line of the script, not the one of Python's library that raised."""
    bench.write({"script.py": "import json\njson.loads('{')\n"})
    outcome = bench.watched(["script.py"], ours=["--out", "run"], quiet=False)
    line = outcome.stderr.splitlines()[-1]
    assert line.startswith("trimtab: crashed: JSONDecodeError")
    assert line.endswith("script.py:2: json.loads('{'))")


def test_out_holds_a_verdict_though_nothing_was_trained(bench: Bench) -> None:
    bench.write({"script.py": "print('hi')"})
    outcome = bench.watched(["script.py"], ours=["--out", "deep/run"], quiet=False)
    assert outcome.stdout == "hi\n"
    assert outcome.stderr.startswith("trimtab: no optimizer step was seen")
    assert json.loads((bench.directory / "deep/run/verdict.json").read_text())["outcome"] == "unjudged"
    meta = json.loads((bench.directory / "deep/run/run.json").read_text())
    assert meta["status"] == 0
    assert meta["started"] <= meta["ended"]


def test_a_secret_of_the_command_line_is_nowhere_in_the_record(bench: Bench) -> None:
    """Not in run.json, and not where the script quotes it: one memory of secrets serves the whole run."""
    bench.write({"script.py": "import sys, trimtab\ntrimtab.log(a=1)\nraise ValueError('no ' + sys.argv[2])\n"})
    bench.watched(["script.py", "--api-key", "swordfish-17"], ours=["--out", "run"])
    from trimtab.runs import Record

    assert "[redacted]" in str(Record.open(bench.directory / "run").events()["data"])
    for file in (bench.directory / "run").rglob("*"):
        assert file.is_dir() or b"swordfish" not in file.read_bytes(), file


def test_a_program_without_training_leaves_nothing(bench: Bench) -> None:
    bench.write({"script.py": "print('hi')"})
    bench.watched(["script.py"])
    assert [path.name for path in bench.directory.iterdir()] == ["script.py"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_costs_the_record_only(bench: Bench) -> None:
    bench.write({"script.py": LOGGER})
    bench.directory.chmod(stat.S_IRUSR | stat.S_IXUSR)
    outcome = bench.watched(["script.py", "0"], quiet=False)
    bench.directory.chmod(stat.S_IRWXU)
    assert (outcome.status, outcome.stdout.splitlines()[-1]) == (0, "over")
    assert outcome.stderr.count("cannot make a run directory") == 1


@pytest.mark.parametrize("out", ["/proc/run", "/dev/null/run"])
def test_an_out_that_cannot_be_made_costs_the_record_only(bench: Bench, out: str) -> None:
    bench.write({"script.py": LOGGER})
    outcome = bench.watched(["script.py", "0"], ours=["--out", out], quiet=False)
    assert (outcome.status, outcome.stdout.splitlines()[-1]) == (0, "over")
    assert outcome.stderr.count("trimtab: ") >= 1
    assert "Traceback" not in outcome.stderr


def test_no_place_for_a_socket_costs_the_record_only(bench: Bench) -> None:
    bench.write({"script.py": "print('hi')", "site/usercustomize.py": ""})
    code = (
        "import sys\nfrom trimtab.launch import _rendezvous\n_rendezvous.MAX_SOCKET_PATH = 1\n"
        "from trimtab.cli import main\nsys.exit(main(['run', 'script.py']))\n"
    )
    outcome = bench.run([sys.executable, "-c", code])
    assert (outcome.status, outcome.stdout) == (0, "hi\n")
    assert outcome.stderr.startswith("trimtab: cannot record: OSError")


def test_a_hook_that_is_not_loaded_is_said(bench: Bench) -> None:
    bench.write({"script.sh": f"#!/bin/sh\n{sys.executable} -S -c 'print(1)'\n"})
    (bench.directory / "script.sh").chmod(0o755)
    outcome = bench.watched(["./script.sh"], quiet=False)
    assert outcome.stdout == "1\n"
    assert "start-up hook" in outcome.stderr


def test_metrics_are_read_from_printed_lines(bench: Bench) -> None:
    bench.write(
        {
            "script.py": (
                "import sys\nw = sys.stdout.write\nprint('loss: 0.5 acc=1e-3', end='')\nprint(' loss: nan')\n"
                "sys.stdout.write('10%\\rloss = -inf\\r')\nprint('my_loss: 7', 'loss: 3 %')\n"
                "print(sys.stdout.write('abc') , sys.stdout is sys.__stdout__, sys.stdout.isatty())\n"
            )
        }
    )
    ours = ["--out", "run", "--metric", "loss:min", "--metric", r"a=acc=(\S+):max"]
    assert bench.watched(["script.py"], ours=ours) == bench.plain(["script.py"])
    assert repr(metrics(bench.directory / "run")) == (
        "[('loss', 0.5), ('loss', nan), ('a', 0.001), ('loss', -inf), ('loss', 3.0)]"
    )


def test_processes_of_one_run_have_entries_of_their_own(bench: Bench) -> None:
    child = "import os, trimtab; trimtab.log(rank=int(os.environ['RANK']))"
    bench.write(
        {
            "script.py": (
                "import os, subprocess, sys, trimtab\n"
                "for r in '10':\n"
                f"    subprocess.run([sys.executable, '-c', {child!r}], env={{**os.environ, 'RANK': r}})\n"
                "pid = os.fork()\nif not pid:\n    trimtab.log(forked=1)\n    os._exit(0)\nos.waitpid(pid, 0)\n"
                "trimtab.log(parent=1)\n"
            )
        }
    )
    bench.watched(["script.py"], ours=["--out", "run"])
    processes = json.loads((bench.directory / "run" / "run.json").read_text())["processes"]
    assert [process.get("rank") for process in processes] == [0, 1, None, None]
    assert len({process["pid"] for process in processes}) == 4
    assert sorted(name for name, _ in metrics(bench.directory / "run")) == ["forked", "parent", "rank", "rank"]


def test_a_process_left_behind_does_not_hold_us_up(bench: Bench) -> None:
    later = "import time, trimtab; trimtab.log(a=1); time.sleep(20)"
    bench.write(
        {
            "script.py": "import subprocess, sys, time\nquiet = subprocess.DEVNULL\n"
            f"subprocess.Popen([sys.executable, '-c', {later!r}], stdout=quiet, stderr=quiet)\ntime.sleep(1)\n"
        }
    )
    began = time.monotonic()
    process = bench.start([*RUN, "script.py"])
    assert process.communicate(timeout=18)[0] == ""
    assert process.returncode == 0
    assert time.monotonic() - began < 18
    assert metrics(only_run(bench)) == [("a", 1.0)]
