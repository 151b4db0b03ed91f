"""What the command line is made of: metrics, sizes, programs, flags of the interpreter."""

from __future__ import annotations

import doctest
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from trimtab import TrimtabError
from trimtab.launch._metrics import parse_metric
from trimtab.launch._out import check_free
from trimtab.launch._program import interpreter_flags, parse_program
from trimtab.launch._sizes import parse_size
from trimtab.launch._stdout import LineMatcher, number


@pytest.mark.parametrize(
    ("text", "name", "direction"),
    [
        ("acc", "acc", None),
        ("acc:max", "acc", "max"),
        (r"acc=a: (\d+)", "acc", None),
        (r"l=x:(\d):min", "l", "min"),
        (r"t=(\d+:\d+)", "t", None),
    ],
)
def test_a_metric_has_a_name_and_perhaps_a_direction(text: str, name: str, direction: str | None) -> None:
    assert parse_metric(text)[::2] == (name, direction)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("acc: 0.5", "0.5"),
        ("acc=1e-3,", "1e-3"),
        ("x acc 7", "7"),
        ("acc: nan", "nan"),
        ("acc: -inf", "-inf"),
        ("macc: 3", None),
        ("acc: high", None),
        ("acc: .5", ".5"),
    ],
)
def test_a_bare_name_finds_the_number_after_it(line: str, value: str | None) -> None:
    match = re.search(parse_metric("acc").pattern, line)
    assert (match and match[1]) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a name"),
        ("=x(1)", "needs a name"),
        ("a=(", "is no regular expression"),
        ("a=b", "exactly one group"),
        ("a=(b)(c)", "exactly one group"),
    ],
)
def test_a_bad_metric_is_refused(text: str, says: str) -> None:
    with pytest.raises(TrimtabError, match=says):
        parse_metric(text)


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("2g", 2 * 10**9), ("1 GiB", 2**30), ("1000000", 10**6)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "-1GB", "1XB", "10kB", "GB"])
def test_a_bad_size_is_refused(text: str) -> None:
    with pytest.raises(TrimtabError, match="--max-size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        (["python", "/bin/trimtab", "run"], []),
        (["python", "-um", "trimtab"], ["-u"]),
        (["python", "-Wd", "-m", "x"], ["-Wd"]),
        (["python", "-W", "m", "-IX", "dev", "-c", "x"], ["-W", "m", "-IX", "dev"]),
        (["python", "--check-hash-based-pycs", "always", "x.py"], ["--check-hash-based-pycs", "always"]),
    ],
)
def test_flags_of_the_interpreter(given: list[str], flags: list[str]) -> None:
    assert interpreter_flags(given) == flags


def test_a_program_is_what_python_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").touch()
    assert parse_program(["train.py", "-m"], ["-u"]) == ((sys.executable, "-u", "train.py", "-m"), "train")
    assert parse_program(["-m", "a.b", "-c"]) == ((sys.executable, "-m", "a.b", "-c"), "a.b")
    assert parse_program(["-c", "pass"]).name == "command"
    assert parse_program(["sh", "-c", "true"]) == (("sh", "-c", "true"), "sh")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to run"),
        (["tran.py"], r"no script 'tran.py' in .*; did you mean train.py\?"),
        (["-m"], "needs a module"),
        (["-c"], "needs a piece of code"),
        (["-u", "train.py"], "options of Python go before"),
        (["train"], "did you mean train.py"),
        (["no/such.py"], "there is no directory 'no'"),
        (["empty"], "without __main__.py"),
    ],
)
def test_a_program_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").touch()
    Path("empty").mkdir()
    with pytest.raises(TrimtabError, match=says):
        parse_program(words)


def test_out_must_be_free(tmp_path: Path) -> None:
    check_free(str(tmp_path))
    check_free(str(tmp_path / "new" / "run"))
    (tmp_path / "file").touch()
    with pytest.raises(TrimtabError, match="not empty"):
        check_free(str(tmp_path))
    with pytest.raises(TrimtabError, match="is a file"):
        check_free(str(tmp_path / "file"))


def test_lines_are_matched_in_whatever_pieces_they_come() -> None:
    found: list[tuple[str, float]] = []
    lines = LineMatcher([("a", re.compile(r"a=(\S+)"))], lambda name, value: found.append((name, value)))
    for piece in ("a", "=", "1", "2\n", "a=3 a=4\ra=x\r\na=5"):
        lines.feed(piece)
    assert found == [("a", 12.0), ("a", 3.0), ("a", 4.0)]


@pytest.mark.parametrize(("text", "value"), [("1,", 1.0), ("95%", 95.0), ("x", None), (None, None), ("", None)])
def test_numbers(text: str | None, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize("module", ["launch._metrics", "launch._sizes", "launch._program", "launch._log", "cli._run"])
def test_the_examples_in_the_docstrings(module: str) -> None:
    assert doctest.testmod(import_module(f"trimtab.{module}")).failed == 0
