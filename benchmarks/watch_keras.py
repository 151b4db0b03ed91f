"""The price of watching a Keras training, per step, on each backend, against plain Python.

    python benchmarks/watch_keras.py             all backends and models, some twenty minutes
    python benchmarks/watch_keras.py --quick     shows that it runs, not what it costs

The same `fit` runs in processes of its own, in turn: plain, under `trimtab run`, and plain once more as a null control
(what two equal things differ by). What is printed is the ratio of the medians of a round's steps, less one: the median
over rounds and, after +-, the half-width of that median's 95 % interval. Compiling, and the first steps, are not
counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import trimtab

BACKENDS = ("tensorflow", "jax", "torch")
MODELS = ("dense 10 x 512, batch 64", "VGG of examples/keras, batch 64")
BATCH = 64
STEPS = 200  # in a block
BLOCKS = 5


def dense() -> Any:
    import keras

    layers = [keras.layers.Dense(512, activation="relu") for _ in range(10)]
    return keras.Sequential([keras.Input((512,)), *layers, keras.layers.Dense(10)]), (512,)


def vgg() -> Any:
    import keras

    def block(width: int) -> list[Any]:
        return [keras.layers.Conv2D(width, 3, padding="same", activation="relu") for _ in range(2)]

    layers = [layer for width in (8, 16, 32) for layer in (*block(width), keras.layers.MaxPooling2D())]
    top = [keras.layers.Flatten(), keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((16, 16, 1)), *layers, *top]), (16, 16, 1)


def child(model_index: int, steps: int) -> None:
    """One process: its seconds and CPU seconds per step, of every block, as JSON on stdout."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model, shape = (dense, vgg)[model_index]()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    generator = np.random.default_rng(0)
    x = generator.standard_normal((BATCH * steps, *shape)).astype("float32")
    y = generator.integers(0, 10, BATCH * steps)
    model.fit(x, y, batch_size=BATCH, verbose=0)
    found = []
    for _ in range(BLOCKS):
        began, cpu = time.perf_counter(), time.process_time()
        model.fit(x, y, batch_size=BATCH, verbose=0)
        found.append(((time.perf_counter() - began) / steps, (time.process_time() - cpu) / steps))
    print(json.dumps(found))


def seconds(way: str, backend: str, model_index: int, steps: int) -> tuple[float, float]:
    """Median seconds and CPU seconds per step of one process."""
    with tempfile.TemporaryDirectory() as scratch:
        watched = ["-m", "trimtab", "run", "--out", str(Path(scratch) / "run")] if way == "watched" else []
        command = [sys.executable, *watched, __file__, "--child", str(model_index), "--steps", str(steps)]
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "TRIMTAB_QUIET": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    blocks = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(b[0] for b in blocks), statistics.median(b[1] for b in blocks)


def median(values: list[float]) -> str:
    """The median and the half-width of its 95 % interval (McGill, Tukey and Larsen 1978: 1.57 IQR / sqrt n)."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:+7.1%} +-{1.57 * (high - low) / len(values) ** 0.5:5.1%}"


def measure(backend: str, model_index: int, rounds: int, steps: int) -> None:
    ways = ("plain", "watched", "null")
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for r in range(rounds):
        for way in ways[r % 3 :] + ways[: r % 3]:
            found[way].append(seconds(way, backend, model_index, steps))
    step = statistics.median(s for s, _ in found["plain"])
    cells = []
    for way in ("watched", "null"):
        for place in (0, 1):
            pairs = zip(found[way], found["plain"], strict=True)
            cells.append(median([mine[place] / plain[place] - 1 for mine, plain in pairs]))
    print(f"  {backend:11} {step * 1e6:9,.0f} us   {cells[0]}   {cells[1]}   {cells[2]}   {cells[3]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="two rounds of few steps on the smaller model")
    parser.add_argument("--backend", choices=BACKENDS, help="this one alone")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        return child(options.child, options.steps)
    print(f"trimtab {trimtab.__version__}, {date.today()}, {platform.machine()}, {os.cpu_count()} cores")
    for index, name in enumerate(MODELS):
        if options.quick and index == 0:
            continue
        heads = "   ".join(f"{head:>15}" for head in ("watched", "CPU", "null", "CPU"))
        print(f"\n{name}: over plain\n  {'':11} {'a step':>12}   {heads}")
        for backend in [options.backend] if options.backend else BACKENDS:
            measure(backend, index, 2 if options.quick else options.rounds, 20 if options.quick else options.steps)
    return None


if __name__ == "__main__":
    main()
