"""The price of a guarded step against clipping by hand, interleaved, in one process.

    python benchmarks/guard.py             all sizes and optimizers, about five minutes
    python benchmarks/guard.py --quick     a few rounds: shows that it runs, not what it costs

Timed is what comes after the backward pass, on gradients that were made once and are copied into place before each
step, outside of the time:

    by hand    torch.nn.utils.clip_grad_norm_, then optimizer.step()
    alone      optimizer.step() under trimtab.guard(optimizer, model, "skip=nonfinite", "clip=global:LIMIT")
    watched    the same while trimtab watches: measured, recorded and sent as well

once with gradients twice as long as the limit ("clips") and once with half as long ("lets pass"). Printed are
microseconds by hand, and the ratio to it of the other two: the median over rounds and, after +-, the half-width of
that median's 95 % interval; CPU is the ratio of the process's CPU time. "bytes" is the floor: the time by hand of the
same optimizer without any clip, as a ratio.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import trimtab
from trimtab.frameworks.torch import guard as guard_torch
from trimtab.launch import current
from trimtab.policies import guarding

SIZES = {"10 k": (64, 96, 40, 10), "5.1 M": (784, 1600, 1600, 800, 10), "25 M": (1024, 3072, 3072, 3072, 1024, 10)}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "AdamW fused": lambda p: torch.optim.AdamW(p, lr=1e-6, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-6),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9),
}
BLOCK_SECONDS = 0.15


class Spent(NamedTuple):
    """Of one block, per step."""

    seconds: float
    cpu: float


class Stepping:
    """A model of given widths with gradients of length 1, its optimizer, and a limit."""

    def __init__(self, widths: tuple[int, ...], make: Callable[[Any], torch.optim.Optimizer], limit: float) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(widths)))
        self.parameters = list(self.model.parameters())
        self.grads = [torch.randn_like(p) for p in self.parameters]
        total = float(torch.linalg.vector_norm(torch.stack([g.norm() for g in self.grads])))
        for p, g in zip(self.parameters, self.grads, strict=True):
            g /= total
            p.grad = g.clone()
        self.optimizer, self.limit = make(self.parameters), limit
        self.steps = 3
        self.run(self.bare)
        self.steps = max(3, int(BLOCK_SECONDS / self.run(self.bare).seconds))

    def run(self, step: Callable[[], object]) -> Spent:
        seconds = cpu = 0.0
        places = [p.grad for p in self.parameters]
        for _ in range(self.steps):
            torch._foreach_copy_(places, self.grads)
            began, spent = time.perf_counter(), time.process_time()
            step()
            seconds += time.perf_counter() - began
            cpu += time.process_time() - spent
        return Spent(seconds / self.steps, cpu / self.steps)

    def bare(self) -> None:
        self.optimizer.step()

    def by_hand(self) -> None:
        nn.utils.clip_grad_norm_(self.parameters, self.limit)
        self.optimizer.step()


def measure(size: str, name: str, limit: float, rounds: int) -> None:
    hand, alone, watched = (Stepping(SIZES[size], OPTIMIZERS[name], limit) for _ in range(3))
    policy = guarding(["skip=nonfinite", f"clip=global:{limit}"])
    guard_torch(None, alone.optimizer, alone.model, policy)
    session = current()
    guard_torch(session, watched.optimizer, watched.model, policy)
    watcher = session.watchers[-1]
    variants: dict[str, Callable[[], Spent]] = {
        "by hand": lambda: hand.run(hand.by_hand),
        "bytes": lambda: hand.run(hand.bare),
        "alone": lambda: alone.run(alone.bare),
        "watched": lambda: watched.run(watched.bare),
    }
    spent: dict[str, list[Spent]] = {variant: [] for variant in variants}
    for r in range(rounds + 1):
        order = list(variants)
        for variant in order[r % 4 :] + order[: r % 4]:
            if variant == "watched":
                watcher.hook()
            block = variants[variant]()
            watcher.detach()
            if r:  # the first round is slow
                spent[variant].append(block)
    report(f"{size:6} {name:12} {'clips' if limit < 1 else 'lets pass':10}", spent)


def report(title: str, spent: dict[str, list[Spent]]) -> None:
    hand = spent["by hand"]
    cells = [f"{statistics.median(s.seconds for s in hand) * 1e6:10,.1f} us"]
    for variant in ("bytes", "alone", "watched"):
        ratios = [s.seconds / h.seconds for s, h in zip(spent[variant], hand, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        cells.append(f"{variant} {middle:5.2f} +-{1.57 * (high - low) / len(ratios) ** 0.5:4.2f}")
    cpu = statistics.median(s.cpu for s in spent["watched"]) / statistics.median(s.cpu for s in hand)
    print(title, *cells, f"CPU {cpu:5.2f}", sep="  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="a few rounds: shows that it runs, not what it costs")
    parser.add_argument("--only", default="", help="sizes whose name contains this")
    options = parser.parse_args()
    print(f"trimtab {trimtab.__version__}, torch {torch.__version__}, {date.today()}, {platform.machine()}, ", end="")
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
    os.environ["TRIMTAB_QUIET"] = "1"
    with tempfile.TemporaryDirectory() as scratch, trimtab.watch(out=Path(scratch) / "run"):
        current().watchers[-1].detach()
        for size, name, limit in itertools.product(SIZES, OPTIMIZERS, (0.5, 2.0)):
            if options.only in size:
                measure(size, name, limit, 3 if options.quick else options.rounds)


if __name__ == "__main__":
    main()
