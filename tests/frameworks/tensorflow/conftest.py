"""TensorFlow under watch for the length of one test, with a session that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

tf = pytest.importorskip("tensorflow")

from tests.frameworks._kept import KeptSession  # noqa: E402

from trimtab.frameworks import tensorflow as adapter  # noqa: E402


@pytest.fixture
def session() -> Iterator[KeptSession]:
    kept = KeptSession(None)
    watch = adapter.attach(kept)
    tf.random.set_seed(0)
    yield kept
    watch.detach()
    assert kept.errors == []
