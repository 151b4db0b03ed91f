"""The import hook calls back once, and is not to be noticed otherwise."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from trimtab.launch import _imports
from trimtab.launch._imports import after_import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    before, known = list(sys.meta_path), set(sys.modules)
    yield tmp_path
    sys.meta_path[:] = before
    _imports._FINDER.callbacks.clear()
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_it_is_called_after_the_module_ran(package: Path) -> None:
    write(package, tt_one="VALUE = 1\n")
    seen: list[int] = []
    after_import("tt_one", lambda module: seen.append(module.VALUE))
    assert seen == []
    import tt_one  # type: ignore[import-not-found]

    assert seen == [1]
    assert tt_one.__spec__.loader is tt_one.__loader__
    assert type(tt_one.__loader__).__name__ == "SourceFileLoader"
    importlib.reload(tt_one)
    assert seen == [1]


def test_it_is_called_at_once_for_a_module_that_is_there() -> None:
    seen: list[ModuleType] = []
    after_import("json", seen.append)
    assert seen == [sys.modules["json"]]


def test_the_module_sees_its_own_loader_while_it_runs(package: Path) -> None:
    write(package, tt_two="import sys\nLOADER = type(__loader__).__name__, type(__spec__.loader).__name__\n")
    after_import("tt_two", lambda module: None)
    assert importlib.import_module("tt_two").LOADER == ("SourceFileLoader", "SourceFileLoader")


def test_submodules_and_packages(package: Path) -> None:
    (package / "tt_pack").mkdir()
    (package / "tt_pack" / "__init__.py").write_text("from . import sub\n")
    (package / "tt_pack" / "sub.py").write_text("")
    seen: list[str] = []
    after_import("tt_pack", lambda module: seen.append(module.__name__))
    after_import("tt_pack.sub", lambda module: seen.append(module.__name__))
    importlib.import_module("tt_pack.sub")
    assert seen == ["tt_pack.sub", "tt_pack"]


def test_find_spec_finds_and_imports_nothing(package: Path) -> None:
    write(package, tt_three="raise SystemError\n")
    after_import("tt_three", lambda module: None)
    after_import("tt_nowhere", lambda module: None)
    spec = importlib.util.find_spec("tt_three")
    assert spec is not None
    assert spec.origin == str(package / "tt_three.py")
    assert importlib.util.find_spec("tt_nowhere") is None
    assert "tt_three" not in sys.modules


def test_an_error_in_the_module_is_its_own(package: Path) -> None:
    write(package, tt_four="1 / 0\n")
    called: list[ModuleType] = []
    after_import("tt_four", called.append)
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("tt_four")
    assert "tt_four" not in sys.modules
    (package / "tt_four.py").write_text("VALUE = 2  # repaired\n")
    importlib.invalidate_caches()
    assert importlib.import_module("tt_four").VALUE == 2
    assert len(called) == 1


def test_an_error_in_the_callback_stays_ours(package: Path) -> None:
    write(package, tt_five="VALUE = 1\n")

    def fail(module: ModuleType) -> None:
        raise RuntimeError

    after_import("tt_five", fail)
    assert importlib.import_module("tt_five").VALUE == 1


def test_the_callback_may_import_the_module(package: Path) -> None:
    write(package, tt_six="VALUE = 1\n")
    seen: list[int] = []
    after_import("tt_six", lambda module: seen.append(importlib.import_module("tt_six").VALUE))
    importlib.import_module("tt_six")
    assert seen == [1]


def test_lazy_loading_still_works(package: Path) -> None:
    write(package, tt_seven="VALUE = 1\n")
    seen: list[int] = []
    after_import("tt_seven", lambda module: seen.append(module.VALUE))
    spec = importlib.util.find_spec("tt_seven")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["tt_seven"] = module
    assert spec.loader is not None
    spec.loader.exec_module(module)
    assert module.VALUE == 1
    assert seen == [1]


def test_two_threads_import_at_once(package: Path) -> None:
    write(package, tt_eight="import time\ntime.sleep(0.05)\nVALUE = 1\n")
    seen: list[int] = []
    after_import("tt_eight", lambda module: seen.append(module.VALUE))
    threads = [threading.Thread(target=importlib.import_module, args=("tt_eight",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1]
