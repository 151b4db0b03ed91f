"""The names that are said to be gone are gone from what is installed, and the new ones are there."""

from __future__ import annotations

import builtins
import importlib
import re

import pytest

from trimtab.findings.causes.errors._moved_names import GRAPHS, MOVED, TENSORFLOW, TENSORFLOW_1

ALL = MOVED | TENSORFLOW | GRAPHS
# Gone from some versions, and back or still there in what the tests run with.
BACK = {"numpy.bool", "numpy.long"}
# There, but no longer a module to import from.
NO_MODULE = {"jax.config"}
# A package that its user may have to install.
NOT_OURS = ("imageio", "joblib")


def exists(dotted: str) -> bool:
    """As an attribute of its module, or as a module."""
    module, _, name = dotted.rpartition(".")
    if not module:
        return hasattr(builtins, dotted) or importlib.util.find_spec(dotted) is not None
    if exists(module):
        try:
            found = importlib.import_module(module)
        except ImportError:  # a class, say
            found = None
        if hasattr(found, name):
            return True
    try:
        return importlib.import_module(dotted) is not None
    except ImportError:
        return False


@pytest.mark.parametrize("old", sorted(ALL.keys() - BACK - NO_MODULE))
@pytest.mark.filterwarnings("ignore")
def test_an_old_name_is_gone(old):
    pytest.importorskip(old.partition(".")[0])
    assert not exists(old)


@pytest.mark.parametrize("new", sorted({new for new in ALL.values() if re.fullmatch(r"[\w.]+", new)}))
@pytest.mark.filterwarnings("ignore")
def test_a_new_name_is_there(new):
    library = new.partition(".")[0]
    if library in NOT_OURS or not hasattr(builtins, new):
        pytest.importorskip(library)
    assert exists(new)


@pytest.mark.filterwarnings("ignore")
def test_the_line_that_asks_for_tensorflow_1():
    pytest.importorskip("tensorflow")
    module = importlib.import_module(TENSORFLOW_1.split()[1])
    assert callable(module.disable_v2_behavior)
