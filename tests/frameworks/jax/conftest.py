"""JAX under watch for the length of one test, with a session that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

pytest.importorskip("jax")

from tests.frameworks._kept import KeptSession

from trimtab.frameworks import jax as adapter


class Watched(NamedTuple):
    session: KeptSession
    tracing: Any
    watch: Any


@pytest.fixture
def watched() -> Iterator[Watched]:
    session = KeptSession(None)
    watch = adapter.attach(session)
    assert watch is not None
    yield Watched(session, adapter.tracing(session), watch)
    watch.detach()
    assert session.errors == []
