"""Hooks PyTorch once for the process, with a session that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.frameworks._kept import KeptSession

from trimtab.frameworks import torch as adapter


@pytest.fixture
def kept(tmp_path: Any) -> Iterator[KeptSession]:
    """PyTorch under watch with --keep-batch."""
    yield from _under_watch(tmp_path, keeps_batch=True)


@pytest.fixture
def watched(tmp_path: Any) -> Iterator[KeptSession]:
    """PyTorch under watch for the length of one test."""
    yield from _under_watch(tmp_path)


def _under_watch(directory: Any, *, keeps_batch: bool = False) -> Iterator[KeptSession]:
    session = KeptSession(str(directory))
    session.keeps_batch = keeps_batch
    watch = adapter.attach(session)
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield session
    torch.set_num_threads(threads)
    watch.detach()
    assert session.errors == []
