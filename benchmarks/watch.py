"""The price of watching a PyTorch training, per step, against plain Python and against watching by hand.

    python benchmarks/watch.py             all models, about three minutes
    python benchmarks/watch.py --quick     a tenth of it

In one process the same training goes on under each of these in turn, a block of steps each, in an order that
changes every round:

    plain      nothing
    watched    trimtab, all tensors at every step, sampled steps, snapshots and sending to the recorder included
    norms      the same without sampled steps and snapshots: what is done at every step
    floor      one read of the gradients' bytes: g.sum() of each, one thread
    bare       one call of torch._foreach_norm on the gradients
    clip       torch.nn.utils.clip_grad_norm_ and .item() of its result
    loop       p.grad.norm().item() for every parameter

What is printed of a variant is its time over plain's in the same round, per step: median over rounds, with the
quartiles; CPU time is that of the training process. Snapshots for the black box are in `watched`, and on a line of
their own. The first block of `watched`, with the first step's full sample, is not counted. The floor is also
given as it is in a loop of its own, where the gradients of a small model never leave the cache.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch import nn

import trimtab
from trimtab.launch import current

ROOT = Path(__file__).resolve().parent.parent
Batch = tuple[torch.Tensor, torch.Tensor]


def mlp(*widths: int) -> nn.Module:
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class LastOfLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 64, batch_first=True), nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def resnet() -> nn.Module:
    sys.path.insert(0, str(ROOT / "examples"))
    from resnet import Config, ResNet

    return ResNet(Config())


CLASSES = nn.CrossEntropyLoss()
# name -> (model, batch, loss function, steps in a block)
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Batch], nn.Module, int]] = {
    "MLP of 5.1 M, batch 64": (
        lambda: mlp(784, 1600, 1600, 800, 10),
        lambda: (torch.randn(64, 784), torch.randint(0, 10, (64,))),
        CLASSES,
        40,
    ),
    "MLP of 10 k, batch 32": (
        lambda: mlp(64, 96, 40, 10),
        lambda: (torch.randn(32, 64), torch.randint(0, 10, (32,))),
        CLASSES,
        1500,
    ),
    "LSTM of 17 k, length 50, batch 50": (
        LastOfLSTM,
        lambda: (torch.randn(50, 50, 2), torch.randn(50, 1)),
        nn.MSELoss(),
        60,
    ),
    "ResNet of examples/, batch 32": (
        resnet,
        lambda: (torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,))),
        CLASSES,
        40,
    ),
}


class Training:
    """One model, its optimizer and one batch, stepped under each variant."""

    def __init__(self, name: str) -> None:
        make, batch, self.loss, self.steps = MODELS[name]
        torch.manual_seed(0)
        self.model, self.batch = make(), batch()
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=1e-3, momentum=0.9)

    def run(self, before_step: Callable[[], object], steps: int) -> None:
        x, y = self.batch
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.loss(self.model(x), y).backward()
            before_step()
            self.optimizer.step()

    def grads(self) -> list[torch.Tensor]:
        return [p.grad for p in self.parameters]

    def floor(self) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        for g in self.grads():
            g.sum()
        torch.set_num_threads(threads)

    def bare(self) -> None:
        torch._foreach_norm(self.grads())

    def clip(self) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, 1e9).item()

    def loop(self) -> None:
        for p in self.parameters:
            p.grad.norm().item()


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(name: str, rounds: int) -> None:
    training = Training(name)
    watcher = current().watchers[-1]
    before_step = dict.fromkeys(("plain", "watched", "norms"), lambda: None)
    before_step |= {variant: getattr(training, variant) for variant in ("floor", "bare", "clip", "loop")}
    watcher.hook()
    training.run(lambda: None, max(20, training.steps))
    watcher.detach()
    wall: dict[str, list[float]] = {variant: [] for variant in before_step}
    cpu: dict[str, list[float]] = {variant: [] for variant in before_step}
    snapshots = -watcher.snapshot_seconds
    for r in range(rounds):
        order = list(before_step)
        turn = r % len(order)
        for variant in order[turn:] + order[:turn]:
            if variant in ("watched", "norms"):
                watcher.hook(sampling=variant == "watched")
            took = seconds_of(lambda v=variant: training.run(before_step[v], training.steps))
            watcher.detach()
            wall[variant].append(took[0] / training.steps)
            cpu[variant].append(took[1] / training.steps)
    snapshots += watcher.snapshot_seconds
    alone = {v: seconds_of(lambda v=v: [before_step[v]() for _ in range(100)])[0] / 100 for v in ("floor", "bare")}
    report(name, wall, cpu, alone, snapshots / (rounds * training.steps))


def report(
    name: str, wall: dict[str, list[float]], cpu: dict[str, list[float]], alone: dict[str, float], snapshots: float
) -> None:
    plain = statistics.median(wall["plain"])
    print(f"\n{name}: {plain * 1e6:,.0f} us a step, {statistics.median(cpu['plain']) * 1e6:,.0f} us of CPU")
    print(f"  {'':8} {'over plain':>13} {'quartiles':>20} {'of the step':>12} {'CPU over plain':>15}")
    extra: dict[str, float] = {}
    for variant in list(wall)[1:]:
        differences = [w - p for w, p in zip(wall[variant], wall["plain"], strict=True)]
        low, extra[variant], high = statistics.quantiles(differences, n=4)
        more_cpu = statistics.median(c - p for c, p in zip(cpu[variant], cpu["plain"], strict=True))
        spread = f"{low * 1e6:,.1f} .. {high * 1e6:,.1f}"
        share = extra[variant] / plain
        print(f"  {variant:8} {extra[variant] * 1e6:10,.1f} us {spread:>20} {share:>11.1%} {more_cpu * 1e6:12,.1f} us")
    print(f"  snapshots {snapshots * 1e6:,.1f} us; alone in a loop: ", end="")
    print(f"floor {alone['floor'] * 1e6:,.1f} us, bare {alone['bare'] * 1e6:,.1f} us")
    ratios = [extra[variant] / extra["floor"] for variant in ("norms", "watched")]
    print(f"  norms is {ratios[0]:.2f} x the floor, watched {ratios[1]:.2f} x; ", end="")
    print(f"1.3 x bare + 20 us is {1.3e6 * extra['bare'] + 20:,.1f} us")


def start_up(rounds: int) -> None:
    """An empty script under `trimtab run` and under plain Python, interleaved."""
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch) / "empty.py"
        script.write_text("")
        plain = [sys.executable, str(script)]
        watched = [sys.executable, "-m", "trimtab", "run", str(script)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": scratch}
        times: list[tuple[float, float]] = []
        for _ in range(rounds):
            pair = tuple(seconds_of(lambda c=command: subprocess.run(c, **quiet))[0] for command in (plain, watched))
            times.append(pair)
        extra = [w - p for p, w in times]
        low, middle, high = statistics.quantiles(extra, n=4)
        print(f"\nan empty script: plain {statistics.median(p for p, _ in times) * 1e3:.1f} ms")
        print(f"  watched {middle * 1e3:.1f} ms over plain (quartiles {low * 1e3:.1f} .. {high * 1e3:.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--quick", action="store_true", help="a few rounds: shows that it runs, not what it costs")
    parser.add_argument("--only", help="models whose name contains this")
    options = parser.parse_args()
    rounds = 3 if options.quick else options.rounds
    print(f"trimtab {trimtab.__version__}, torch {torch.__version__}, {date.today()}, {platform.machine()}, ", end="")
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")
    os.environ["TRIMTAB_QUIET"] = "1"
    with tempfile.TemporaryDirectory() as scratch, trimtab.watch(out=Path(scratch) / "run"):
        current().watchers[-1].detach()
        for name in MODELS:
            if not options.only or options.only in name:
                measure(name, rounds)
    if not options.only:
        start_up(rounds)


if __name__ == "__main__":
    main()
