"""The price of watching a PyTorch training, per step, against plain Python and against watching by hand.

    python benchmarks/watch.py             all models, about five minutes
    python benchmarks/watch.py --quick     a tenth of it

In one process the same training goes on under each of these in turn, in an order that changes every round, each
block of steps between two plain ones, with which it is compared:

    watched    trimtab, all tensors at every step, sampled steps, snapshots and sending to the recorder included
    norms      the same without sampled steps and snapshots: what is done at every step
    floor      one read of the gradients' bytes: g.sum() of each, one thread
    bare       one call of torch._foreach_norm on the gradients
    clip       torch.nn.utils.clip_grad_norm_ and .item() of its result
    loop       p.grad.norm().item() for every parameter

What is printed of a variant is its time over plain's, per step: the median over rounds and, after +-, the half-width
of that median's 95 % interval; "in the step" is the time from the end of the backward pass to the end of
optimizer.step() alone, where all of it lies but for a call at the loss and one at the backward pass, and where
the noise of the forward and the backward pass does not come in. Blocks last a third of a second, so that each holds
what is done once in a while, like sending. CPU time is that of the training process. The first block of `watched`,
with the first step's full sample, is not counted. The floor is also given as it is in a loop of its own, where the
gradients of a small model never leave the cache.
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
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

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
BLOCK_SECONDS = 1 / 3
# name -> (model, batch, loss function)
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Batch], nn.Module]] = {
    "MLP of 5.1 M, batch 64": (
        lambda: mlp(784, 1600, 1600, 800, 10),
        lambda: (torch.randn(64, 784), torch.randint(0, 10, (64,))),
        CLASSES,
    ),
    "MLP of 10 k, batch 32": (
        lambda: mlp(64, 96, 40, 10),
        lambda: (torch.randn(32, 64), torch.randint(0, 10, (32,))),
        CLASSES,
    ),
    "LSTM of 17 k, length 50, batch 50": (
        LastOfLSTM,
        lambda: (torch.randn(50, 50, 2), torch.randn(50, 1)),
        nn.MSELoss(),
    ),
    "ResNet of examples/, batch 32": (
        resnet,
        lambda: (torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,))),
        CLASSES,
    ),
}


class Spent(NamedTuple):
    """Of one block, per step: seconds before the step, in it, and CPU seconds of both."""

    before: float
    step: float
    cpu: float

    def over(self, a: Spent, b: Spent) -> Spent:
        """What this block took over the mean of two others."""
        return Spent(*(mine - (x + y) / 2 for mine, x, y in zip(self, a, b, strict=True)))


class Training:
    """One model, its optimizer and one batch, stepped under each variant."""

    def __init__(self, name: str) -> None:
        make, batch, self.loss = MODELS[name]
        torch.manual_seed(0)
        self.model, self.batch = make(), batch()
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=1e-3, momentum=0.9)
        self.steps = 20
        self.run(lambda: None)  # the first steps are slow
        fastest = min(spent.before + spent.step for spent in (self.run(lambda: None) for _ in range(5)))
        self.steps = max(3, int(BLOCK_SECONDS / fastest))

    def run(self, before_step: Callable[[], object]) -> Spent:
        """Train for a block of steps."""
        x, y = self.batch
        before = step = 0.0
        cpu = time.process_time()
        for _ in range(self.steps):
            began = time.perf_counter()
            self.optimizer.zero_grad()
            self.loss(self.model(x), y).backward()
            ready = time.perf_counter()
            before_step()
            self.optimizer.step()
            step += time.perf_counter() - ready
            before += ready - began
        return Spent(before / self.steps, step / self.steps, (time.process_time() - cpu) / self.steps)

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


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(name: str, rounds: int) -> None:
    training = Training(name)
    watcher = current().watchers[-1]
    by_hand = {variant: getattr(training, variant) for variant in ("floor", "bare", "clip", "loop")}
    before_step: dict[str, Callable[[], object]] = dict.fromkeys(("watched", "norms"), lambda: None) | by_hand
    watcher.hook()
    training.run(lambda: None)
    watcher.detach()
    plain = [training.run(lambda: None)]
    extra: dict[str, list[Spent]] = {variant: [] for variant in before_step}
    snapshots = -watcher.snapshot_seconds
    for r in range(rounds):
        order = list(before_step)
        turn = r % len(order)
        for variant in order[turn:] + order[:turn]:
            if variant in ("watched", "norms"):
                watcher.hook(sampling=variant == "watched")
            spent = training.run(before_step[variant])
            watcher.detach()
            plain.append(training.run(lambda: None))
            extra[variant].append(spent.over(plain[-2], plain[-1]))
    snapshots += watcher.snapshot_seconds
    alone = {variant: seconds_of(lambda v=variant: [by_hand[v]() for _ in range(100)]) / 100 for variant in by_hand}
    report(name, plain, extra)
    print(f"  snapshots {snapshots / rounds / training.steps * 1e6:,.1f} us; alone in a loop: ", end="")
    print(f"floor {alone['floor'] * 1e6:,.1f} us, bare {alone['bare'] * 1e6:,.1f} us")


def median(values: Iterable[float]) -> tuple[float, float]:
    """The median and the half-width of its 95 % interval (McGill, Tukey and Larsen 1978: 1.57 IQR / sqrt n)."""
    listed = list(values)
    low, middle, high = statistics.quantiles(listed, n=4)
    return middle, 1.57 * (high - low) / len(listed) ** 0.5


def report(name: str, plain: list[Spent], extra: dict[str, list[Spent]]) -> None:
    step = statistics.median(spent.before + spent.step for spent in plain)
    print(f"\n{name}: {step * 1e6:,.0f} us a step, {statistics.median(s.cpu for s in plain) * 1e6:,.0f} us of CPU")
    print(f"  {'us over plain':13} {'in all':>18} {'in the step':>18} {'CPU':>18} {'of the step':>12}")
    cost: dict[str, tuple[float, float]] = {}
    for variant, spent in extra.items():
        columns = [
            median(s.before + s.step for s in spent),
            median(s.step for s in spent),
            median(s.cpu for s in spent),
        ]
        cost[variant] = columns[0][0], columns[1][0]
        cells = " ".join(f"{m * 1e6:10,.1f} +-{half * 1e6:5,.1f}" for m, half in columns)
        print(f"  {variant:13} {cells} {columns[0][0] / step:>11.1%}")
    for i, span in enumerate(("in all", "in the step")):
        ratios = [cost[variant][i] / cost["floor"][i] for variant in ("norms", "watched")]
        print(f"  {span}: norms is {ratios[0]:.2f} x the floor, watched {ratios[1]:.2f} x; ", end="")
        print(f"1.3 x bare + 20 us is {1.3e6 * cost['bare'][i] + 20:,.1f} us")


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
            pair = tuple(seconds_of(lambda c=command: subprocess.run(c, **quiet)) for command in (plain, watched))
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
