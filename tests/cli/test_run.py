"""`trimtab run` and `trimtab doctor` at the command line: what is refused, and how that reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.cli import VERBS, main
from trimtab.cli._run import split


def trimtab(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trimtab", *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (["train.py", "--out", "x"], []),
        (["--out", "x", "train.py"], ["--out", "x"]),
        (["--out=x", "-m", "a", "--out"], ["--out=x"]),
        (["--metric", "a", "--metric", "b=(x)", "t.py"], ["--metric", "a", "--metric", "b=(x)"]),
        (["--with", "clip=global:1", "--guard", "t.py", "--guard"], ["--with", "clip=global:1", "--guard"]),
        (["--help"], ["--help"]),
        (["-h"], ["-h"]),
        (["--", "train.py"], []),
    ],
)
def test_our_options_end_where_the_script_begins(words: list[str], ours: list[str]) -> None:
    assert split(words) == (ours, [word for word in words[len(ours) :] if word != "--"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "tran.py"], "did you mean train.py?"),
        (["run"], "nothing to run"),
        (["run", "--max-size", "x", "train.py"], "--max-size"),
        (["run", "--metric", "a=(", "train.py"], "no regular expression"),
        (["run", "--out", "full", "train.py"], "not empty"),
        (["run", "--with", "clip=globl", "train.py"], "did you mean `clip=global`?"),
        (["run", "--with", "clip=global:0", "train.py"], "max_norm must be a number from"),
        (["run", "--with", "clip=global:nan", "train.py"], "max_norm must be a number from"),
        (["run", "--with", "clip=value", "train.py"], "lacks max_value"),
        (["run", "--with", "clip=global:1", "--guard", "--with", "skip=spike", "train.py"], "put skip=spike first"),
        (["rum"], "did you mean run?"),
        (["train.py"], "trimtab run train.py"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_anything_starts(tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "train.py").write_text("open('started', 'w')")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = trimtab(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("trimtab: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "started").exists()


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {verb} " in shown for verb in VERBS)
    assert "examples:" in shown


def test_no_verb_shows_the_help_and_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "verbs:" in capsys.readouterr().out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    usage, _, rest = capsys.readouterr().out.partition("\n\n")
    assert usage.startswith(f"usage: trimtab {verb}")
    assert f"trimtab {verb} " in rest


def test_the_first_line_of_a_verbs_file_is_its_line_in_the_list() -> None:
    from importlib import import_module

    for verb, line in VERBS.items():
        first = (import_module(f"trimtab.cli._{verb}").__doc__ or "").partition("\n")[0]
        assert first, verb
        assert line[0].islower()


def test_doctor_as_json(tmp_path: Path) -> None:
    done = trimtab("doctor", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1)
    by_name = {check["name"]: check["ok"] for check in found["checks"]}
    assert by_name["python"]
    assert by_name["start-up hook"]
    assert by_name["pyarrow"]


def test_a_verb_loads_no_other_verb(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom trimtab.cli import main\n"
        "try:\n    main(['doctor', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(m for m in sys.modules if m.startswith('trimtab.cli.')), 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "['trimtab.cli._doctor'] False"
