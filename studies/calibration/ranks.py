"""Ranks of one job: forked processes that hold one model, average their gradients and leave one record."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

Message = tuple[dict[str, Any], bytes]


class KeptChannel:
    """Stands where the line to the recorder is on every rank but the first: messages wait in a file."""

    is_open = True

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def send(self, header: dict[str, Any], *payload: bytes | memoryview) -> None:
        pickle.dump((header, b"".join(payload)), self._file)

    def close(self) -> None:
        self._file.close()


def fork(kept: Path, train: Callable[[KeptChannel], object]) -> int:
    """Start a rank; its messages are in the file `kept` once it has ended. Returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        channel = KeptChannel(kept)
        train(channel)
        channel.close()
        status = 0
    finally:
        os._exit(status)


def wait(pid: int, rank: int) -> None:
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"rank {rank} failed")


def messages(kept: Path) -> Iterator[Message]:
    """What a rank has said, in order."""
    size = kept.stat().st_size
    with kept.open("rb") as file:
        while file.tell() < size:
            yield pickle.load(file)


def meet(rank: int, ranks: int, place: Path) -> None:
    """Join the other ranks; `place` is a file that does not exist yet."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=ranks)


def part() -> None:
    dist.destroy_process_group()


def average(parameters: Iterable[nn.Parameter]) -> None:
    """Give every rank the mean of all ranks' gradients, as DistributedDataParallel does."""
    grads = [p.grad for p in parameters if p.grad is not None]
    together = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(together)
    together /= dist.get_world_size()
    for grad, mean in zip(grads, together.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(mean.view_as(grad))
