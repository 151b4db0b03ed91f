"""JAX and optax under watch for the length of one test, with a session that keeps what it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("optax")

from tests.frameworks._kept import KeptSession

from trimtab.frameworks import jax as jax_adapter
from trimtab.frameworks import optax as adapter

Watch = Callable[..., contextlib.AbstractContextManager[KeptSession]]


@contextlib.contextmanager
def watching(policies: tuple[str, ...] = ()) -> Iterator[KeptSession]:
    session = KeptSession(None)
    session.policies = policies
    watches = [jax_adapter.attach(session), adapter.attach(session)]
    try:
        yield session
        session.finish()
    finally:
        for watch in reversed(watches):
            assert watch is not None
            watch.detach()


@pytest.fixture
def watch() -> Watch:
    """A context manager, given the policies of `--with`; the record is complete when it is left."""
    return watching


@pytest.fixture
def session() -> Iterator[Any]:
    with watching() as kept:
        yield kept
    assert kept.errors == []
