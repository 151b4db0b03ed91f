"""What `trimtab doctor` says of the installed TensorFlow."""

from __future__ import annotations

import pytest

tf = pytest.importorskip("tensorflow")

from trimtab.frameworks import tensorflow as adapter  # noqa: E402
from trimtab.frameworks.tensorflow import _internals  # noqa: E402


def test_every_hook_point_is_there() -> None:
    checks = adapter.check()
    assert checks[0] == ("tensorflow", True, tf.__version__)
    assert [name for name, ok, _ in checks if not ok] == []


def test_one_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_internals.ConcreteFunction, "_call_flat")
    assert [name for name, ok, _ in adapter.check() if not ok] == ["calls of traced functions"]
