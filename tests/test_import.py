"""`import trimtab` is quick and brings nothing along."""

from __future__ import annotations

import statistics
import subprocess
import sys

SECONDS = 0.050

LISTED = """
import sys
before = set(sys.modules)
import trimtab
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))
print(trimtab.__version__)
"""
TIMED = "import time; t = time.perf_counter(); import trimtab; print(time.perf_counter() - t)"
STARTED = """
import sys
before = set(sys.modules)
import trimtab.launch._start
print(sorted(set(sys.modules) - before - {m for m in sys.modules if m.startswith("trimtab")}))
"""


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_loads_the_standard_library_only() -> None:
    modules, version = python(LISTED).splitlines()
    assert modules == "['trimtab']"
    assert version.count(".") == 2


def test_import_is_quick() -> None:
    assert statistics.median(float(python(TIMED)) for _ in range(5)) < SECONDS


def test_the_start_up_hook_loads_builtin_modules_only() -> None:
    """Else a script's own `json.py` would lose against one that is loaded already."""
    assert python(STARTED).strip() == "['__future__', 'atexit']"


def test_the_public_names_are_there() -> None:
    import trimtab

    assert {"log", "watch", "TrimtabError", "__version__"} <= set(dir(trimtab))
    assert all(getattr(trimtab, name) is not None for name in trimtab.__all__)
