"""Plain Python as judge: what a script can see and do, and what its user sees of it, is the same under watch."""

from __future__ import annotations

import os
import zipfile

import pytest

from ._scripts import SCRIPTS
from .conftest import Bench

ABOUT = """
import os, sys, __main__
print(sys.argv, __name__, __main__.__dict__ is globals(), sys.modules["__main__"] is __main__)
print(__main__.__dict__.get("__file__"), type(__spec__).__name__, __package__, __doc__)
print(sys.path)
print(sys.flags, sys.warnoptions, {k: v for k, v in sys._xoptions.items()})
print(os.getcwd(), sys.executable, sys.prefix, sys.stdin.isatty(), sys.stdout.isatty())
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_ends_and_prints_as_under_plain_python(bench: Bench, name: str) -> None:
    bench.write({"script.py": SCRIPTS[name]})
    stdin = "some input" if name == "stdin" else ""
    assert bench.watched(["script.py"], stdin=stdin) == bench.plain(["script.py"], stdin=stdin)


FORMS = {
    "script": ["about.py", "--help", "-x", "a b", ""],
    "script_in_directory": ["sub/about.py", "-m"],
    "absolute": ["{here}/about.py"],
    "module": ["-m", "package.about", "--lr", "1"],
    "module_attached": ["-mpackage.about", "x"],
    "package": ["-m", "package"],
    "code": ["-c", ABOUT, "-c", "y"],
    "directory": ["folder", "z"],
    "directory_slash": ["folder/", "z"],
    "zip": ["bundle.zip", "z"],
    "link": ["link.py", "1"],
    "stdin_script": ["-", "1"],
    "no_such_module": ["-m", "no_such_module"],
    "package_without_main": ["-m", "bare"],
}


def furnish(bench: Bench) -> None:
    bench.write(
        {
            "about.py": '"""Doc."""\n' + ABOUT,
            "sub/about.py": ABOUT + "import near\n",
            "sub/near.py": "print('near')\n",
            "package/__init__.py": "",
            "package/__main__.py": ABOUT,
            "package/about.py": ABOUT,
            "bare/__init__.py": "",
            "folder/__main__.py": ABOUT + "import beside\n",
            "folder/beside.py": "print('beside')\n",
        }
    )
    with zipfile.ZipFile(bench.directory / "bundle.zip", "w") as bundle:
        bundle.writestr("__main__.py", ABOUT)
    os.symlink("sub/about.py", bench.directory / "link.py")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_program_sees_itself_as_under_plain_python(bench: Bench, form: str) -> None:
    furnish(bench)
    arguments = [word.format(here=bench.directory) if "{here}" in word else word for word in FORMS[form]]
    assert bench.watched(arguments, stdin=ABOUT) == bench.plain(arguments, stdin=ABOUT)


@pytest.mark.parametrize(
    "flags",
    [["-P"], ["-I"], ["-E", "-s"], ["-W", "error"], ["-Werror::DeprecationWarning"], ["-X", "dev"], ["-Xutf8", "-OO"],
     ["-u"], ["-bB"], ["-q", "-X", "importtime"]],
    ids=" ".join,
)  # fmt: skip
def test_the_interpreter_has_the_flags_that_ours_was_given(bench: Bench, flags: list[str]) -> None:
    furnish(bench)
    bench.write(
        {
            "warn.py": ABOUT
            + "import warnings\nprint(sys.stdout.write_through)\nwarnings.warn('w', DeprecationWarning)\n"
        }
    )
    watched, plain = bench.watched(["warn.py"], flags=flags), bench.plain(["warn.py"], flags=flags)
    assert watched[:2] == plain[:2]
    if "importtime" not in flags and "dev" not in flags:
        assert watched.stderr == plain.stderr


def test_a_local_module_is_found_after_chdir(bench: Bench) -> None:
    bench.write({"train.py": "import os\nos.chdir('/')\nimport model\n", "model.py": "print('model', __file__)\n"})
    assert bench.watched(["train.py"]) == bench.plain(["train.py"])


@pytest.mark.parametrize(
    "module", ["json", "socket", "select", "struct", "re", "typing", "traceback", "random", "data"]
)
def test_a_script_may_have_a_module_named_like_one_of_the_standard_library(bench: Bench, module: str) -> None:
    bench.write({"train.py": f"import {module}\nprint({module}.MINE)\n", f"{module}.py": "MINE = 1\n"})
    assert bench.watched(["train.py"]) == bench.plain(["train.py"])


def test_a_shell_script_that_starts_python(bench: Bench) -> None:
    bench.write(
        {
            "train.py": "import sys\nprint(sys.argv)\nsys.exit(3)\n",
            "train.sh": "#!/bin/sh\npython3 train.py $1 || exit 7\n",
        }
    )
    (bench.directory / "train.sh").chmod(0o755)
    assert bench.watched(["./train.sh", "a"]) == bench.run(["./train.sh", "a"])
    assert bench.watched(["sh", "train.sh", "a"]) == bench.run(["./train.sh", "a"])
