"""The price of a record: its size on disk, what writing it costs, and how fast it opens.

    python benchmarks/record.py            100,000 steps of 300 tensors: 30 million rows
    python benchmarks/record.py --quick    a hundredth of it

The rows are made as a training makes them (norms that drift and jitter, a clip in every fourth step, one
step in 100 sampled) and go through RunWriter as the recorder's messages do, 64 steps at a time. CPU time is
that of the writing process, the making of the rows taken off.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trimtab import __version__
from trimtab.runs import Record, RunWriter, list_runs

STEPS_PER_BLOCK = 64
SAMPLED_EVERY = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--tensors", type=int, default=300)
    parser.add_argument("--clip", choices=("none", "some"), default="some", help="is a clip seen")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the steps")
    parser.add_argument("--dir", type=Path, help="where to write (and leave) the run; default: a temporary one")
    parser.add_argument("--encodings", action="store_true", help="instead: how a column of norms is best stored")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read_times(options.read)))
        return
    if options.encodings:
        compare_encodings()
        return
    steps = options.steps // 100 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as scratch:
        directory = options.dir or Path(scratch) / "run"
        print(f"trimtab {__version__}, {date.today()}, {platform.platform()}, Python {platform.python_version()}")
        print(f"{steps:,} steps x {options.tensors} tensors, clip: {options.clip}")
        report(directory, write(directory, steps, options.tensors, options.clip == "some"))


def report(directory: Path, writing: dict[str, float]) -> None:
    rows = writing["rows"]
    total = size_of(directory)
    tables = [path for path in sorted(directory.iterdir()) if path.is_dir()]
    each = ", ".join(f"{path.name} {size_of(path) / 1e6:.2f} MB" for path in tables)
    line("size on disk", total / 1e6, "MB", each)
    line("tensors", size_of(directory / "tensors") / rows, "bytes per row", f"{rows:,.0f} rows")
    line("writing, CPU", writing["cpu"], "s", f"{writing['cpu'] / rows * 1e6:.3f} s per million rows")
    line("  of it closing", writing["close_cpu"], "s", f"longest flush {writing['longest_flush'] * 1e3:.0f} ms")
    line("peak memory", writing["peak_rss"] / 1e6, "MB", f"{writing['base_rss'] / 1e6:.0f} MB before the first row")
    command = [sys.executable, __file__, "--read", str(directory)]
    times = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(5)]
    for name in times[0]:
        values = sorted(t[name] * 1e3 for t in times)
        line(name, values[2], "ms", f"{values[0]:.1f} to {values[-1]:.1f}, five new processes")


def compare_encodings() -> None:
    """Bytes and CPU time of one column of norms, step and name beside it, in several ways to store it."""
    rows, width = 1 << 20, 300
    random = np.random.default_rng(0)
    level = random.normal(-3, 2, width)
    norm = np.exp(level + random.normal(0, 0.25, (rows // width + 1, width))).astype("<f4").ravel()[:rows]
    step, tensor = np.divmod(np.arange(rows), width)
    names = pa.DictionaryArray.from_arrays(pa.array(tensor, pa.int32()), pa.array([f"w{i}" for i in range(width)]))
    table = pa.table({"step": step, "tensor": names, "norm": norm})
    keys = {"use_dictionary": ["step", "tensor"]}
    split = {**keys, "use_byte_stream_split": ["norm"]}
    ways: dict[str, dict[str, Any]] = {
        "as pyarrow would": {"compression": "snappy"},
        "dictionary, zstd": {"compression": "zstd"},
        "plain, zstd": {"compression": "zstd", **keys},
        "split, lz4": {"compression": "lz4", **split},
        "split, zstd 1": {"compression": "zstd", "compression_level": 1, **split},
        "split, zstd 3 (ours)": {"compression": "zstd", "compression_level": 3, **split},
        "split, zstd 9": {"compression": "zstd", "compression_level": 9, **split},
    }
    for name, how in ways.items():
        seconds = []
        for _ in range(3):
            file = io.BytesIO()
            begun = time.process_time()
            pq.write_table(table, file, row_group_size=65_536, **how)
            seconds.append(time.process_time() - begun)
        line(name, len(file.getvalue()) / rows, "bytes per row", f"{min(seconds) / rows * 1e6:.3f} s per million rows")


def line(what: str, value: float, unit: str, more: str) -> None:
    print(f"{what:<24}{value:>10.2f} {unit}  ({more})")


def size_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def write(directory: Path, steps: int, width: int, clipped: bool) -> dict[str, float]:
    """Write a whole run; seconds, bytes and rows."""
    writer = RunWriter(directory, {"command": ["train.py"]}, on_trouble=print)
    process = writer.process({"pid": 0})
    writer.names(process, "tensor", 0, [f"blocks.{i // 12}.layer{i % 12}.weight" for i in range(width)])
    base_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    random = np.random.default_rng(0)
    level = random.normal(-3, 2, width)
    cpu = longest = 0.0
    for first in range(0, steps, STEPS_PER_BLOCK):
        count = min(STEPS_PER_BLOCK, steps - first)
        messages = list(_messages(random, level, first, count, clipped))
        begun, cpu_begun = time.perf_counter(), time.process_time()
        for header, payload in messages:
            writer.rows(process, header, payload)
        writer.flush()
        cpu += time.process_time() - cpu_begun
        longest = max(longest, time.perf_counter() - begun)
    cpu_begun = time.process_time()
    writer.close(status=0)
    close_cpu = time.process_time() - cpu_begun
    return {
        "rows": steps * width,
        "cpu": cpu + close_cpu,
        "close_cpu": close_cpu,
        "longest_flush": longest,
        "base_rss": base_rss,
        "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def read_times(directory: Path) -> dict[str, float]:
    """Seconds that `trimtab show` spends on data, in a new process."""
    times = {}
    begun = time.perf_counter()
    record = Record.open(directory)
    series = record.series()[0]
    steps = series.steps
    times["open and all steps"] = time.perf_counter() - begun
    begun = time.perf_counter()
    series.tensors(int(steps["step"][-1]))
    times["tensors of 1st step asked"] = time.perf_counter() - begun
    begun = time.perf_counter()
    series.tensors(int(steps["step"][len(steps["step"]) // 2]))
    times["tensors of 2nd step asked"] = time.perf_counter() - begun
    try:
        from trimtab.findings import judge
    except ImportError:
        return times
    begun = time.perf_counter()
    judge(record)
    times["verdict"] = time.perf_counter() - begun
    begun = time.perf_counter()
    list_runs(directory.parent)
    times["list of runs"] = time.perf_counter() - begun
    return times


def _messages(random: np.random.Generator, level: Any, first: int, count: int, clipped: bool) -> Any:
    width = len(level)
    step = np.arange(first, first + count, dtype="<i8")
    level += random.normal(0, 0.02, width)
    raw = np.exp(level + random.normal(0, 0.25, (count, width)))
    norm = np.sqrt((raw**2).sum(axis=1))
    factor = np.where(clipped & (step % 4 == 0), 0.5, 1.0)
    sampled = step % SAMPLED_EVERY == 0
    for chosen in (~sampled, sampled):
        if chosen.any():
            seen = factor[chosen] if clipped else None
            yield _tensors(random, step[chosen], raw[chosen], seen, bool(sampled[chosen][0]))
    loss = 2.0 / np.sqrt(1 + step / 100) + random.normal(0, 0.02, count)
    yield _rows(
        "steps",
        optimizer=np.zeros(count, "<i2"), step=step, time=step * 0.02 + random.uniform(0, 1e-3, count), loss=loss,
        backwards=np.ones(count, "<i4"), lr=1e-3 * np.cos(step / 1e5), lr_max=1e-3 * np.cos(step / 1e5),
        grad_norm=norm * factor, grad_norm_raw=norm, nonfinite=np.zeros(count, "<i4"),
        evaluations=np.zeros(count, "<i4"), skipped=np.zeros(count, bool), loss_scale=np.ones(count, "<f4"),
        sampled=sampled, watch_seconds=random.uniform(1e-4, 2e-4, count).astype("<f4"),
    )  # fmt: skip


def _tensors(random: np.random.Generator, step: Any, raw: Any, factor: Any, sampled: bool) -> Any:
    count, width = raw.shape
    columns = {
        "optimizer": np.zeros(count * width, "<i2"),
        "step": np.repeat(step, width),
        "tensor": np.tile(np.arange(width, dtype="<i4"), count),
        "grad_norm": (raw if factor is None else raw * factor[:, None]).astype("<f4").ravel(),
    }
    if factor is not None:
        columns["grad_norm_raw"] = raw.astype("<f4").ravel()
    if sampled:
        for name in ("grad_max", "weight_norm", "update_norm", "g2_over_v"):
            columns[name] = random.lognormal(0, 1, count * width).astype("<f4")
        columns["grad_nonfinite"] = np.zeros(count * width, "<i8")
        columns["grad_zeros"] = random.integers(0, 1000, count * width)
    return _rows("tensors", **columns)


def _rows(table: str, **columns: Any) -> tuple[dict[str, Any], bytes]:
    rows = len(columns["step"])
    header = {"table": table, "rows": rows, "columns": [[name, c.dtype.str] for name, c in columns.items()]}
    return header, b"".join(column.tobytes() for column in columns.values())


if __name__ == "__main__":
    main()
