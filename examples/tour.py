"""Run every example well and badly, and print what became of it as a Markdown table.

python examples/tour.py                      all of it, in a few minutes
python examples/tour.py gcn lstm             only these
python examples/tour.py --write README.md    put the table between the marks in that file
"""

import argparse
import datetime
import math
import os
import platform
import re
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
LINE = re.compile(r"train loss (\S+)  val loss (\S+)  val (?:accuracy|r2) (\S+)")


class Stop(NamedTuple):
    command: str
    becomes: str  # trains, blows up, vanishes or stalls
    because: str


STOPS = [
    Stop("mlp.py", "trains", ""),
    Stop(
        "mlp.py --optimizer lbfgs --lr 1 --batch-size 1437 --epochs 10",
        "trains",
        "L-BFGS on all training images at once; it overfits",
    ),
    Stop(
        "mlp.py --init normal:1 --depth 10 --optimizer sgd --lr 0.01 --epochs 3",
        "blows up",
        "weights 8 times too large: the signal grows 8-fold per layer, NaN within the first epoch",
    ),
    Stop(
        "mlp.py --init normal:1 --optimizer sgd --lr 1 --epochs 5",
        "blows up",
        "the same in three layers, by a learning rate of 1",
    ),
    Stop(
        "mlp.py --activation sigmoid --depth 10 --init default --epochs 10",
        "vanishes",
        "the slope of a sigmoid is at most 1/4, ten times over",
    ),
    Stop("mlp.py --init constant:0.01 --epochs 10", "stalls", "all units of a layer stay equal to each other"),
    Stop("mlp.py --lr 0.3 --epochs 10", "stalls", "the first steps kill the ReLU units"),
    Stop("mlp.py --optimizer sgd --lr 1e-5 --epochs 10", "stalls", "learning rate too low"),
    Stop("vgg.py", "trains", ""),
    Stop(
        "vgg.py --activation leaky_relu --init normal:1 --optimizer sgd --lr 0.1 --epochs 2",
        "blows up",
        "weights too large",
    ),
    Stop(
        "vgg.py --depth 18 --init default --epochs 4",
        "vanishes",
        "PyTorch's default weights shrink the signal by 0.41 a layer under ReLU",
    ),
    Stop("vgg.py --optimizer momentum --lr 1 --epochs 4", "stalls", "learning rate too high"),
    Stop("resnet.py", "trains", ""),
    Stop(
        "resnet.py --norm none --init he --depth 30 --epochs 2",
        "blows up",
        "without normalisation every block adds to the variance of the sum",
    ),
    Stop(
        "resnet.py --norm none --activation sigmoid --depth 12 --optimizer adam --lr 1e-3 --epochs 6",
        "vanishes",
        "the sigmoid stands after the sum, so the shortcut does not help",
    ),
    Stop(
        "resnet.py --optimizer adadelta --lr 1e-3 --epochs 4",
        "stalls",
        "the default learning rate of Keras's Adadelta; PyTorch's is 1.0",
    ),
    Stop("lstm.py", "trains", ""),
    Stop(
        "lstm.py --cell rnn --activation relu --init normal:0.3 --clip none --optimizer sgd --steps 100",
        "blows up",
        "the recurrent matrix makes the signal 1.5 times larger at each of 50 steps",
    ),
    Stop(
        "lstm.py --cell rnn --init normal:0.05",
        "vanishes",
        "the recurrent matrix shrinks it to a third at each step; 1/6 is what forgetting costs",
    ),
    Stop("lstm.py --lr 1e-4", "stalls", "learning rate too low; 1/6 again"),
    Stop("gcn.py", "trains", ""),
    Stop("gcn.py --init normal:10 --depth 6 --optimizer sgd --lr 10", "blows up", "weights too large"),
    Stop("gcn.py --activation sigmoid --depth 8", "vanishes", "as in the MLP"),
    Stop(
        "gcn.py --depth 16 --norm layer --lr 1e-3",
        "stalls",
        "over-smoothing: after 16 rounds of averaging all nodes are alike (the same layers fit without it)",
    ),
    Stop("transformer.py", "trains", ""),
    Stop(
        "transformer.py --norm none --init normal:0.3 --optimizer sgd --lr 0.1 --steps 100",
        "blows up",
        "weights too large and no normalisation",
    ),
    Stop(
        "transformer.py --no-skip --norm none --depth 8 --steps 100",
        "vanishes",
        "nothing carries the signal past eight blocks; 2.79 is the cost of knowing only how frequent characters are",
    ),
    Stop("transformer.py --init constant:0.02 --steps 100", "stalls", "all units stay equal; 2.79 again"),
]


class Outcome(NamedTuple):
    first: tuple  # train loss, val loss and val accuracy of the first line
    last: tuple
    cpu_seconds: float
    seconds: float


def run(command):
    """Run one example in a process of its own, on one thread, so that the numbers depend less on the machine."""
    script, *flags = command.split()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    cpu, start = cpu_of_children(), time.monotonic()
    done = subprocess.run(
        [sys.executable, HERE / script, *flags], stdout=subprocess.PIPE, text=True, check=True, env=env
    )
    lines = [tuple(float(v) for v in found) for found in LINE.findall(done.stdout)]
    return Outcome(lines[0], lines[-1], cpu_of_children() - cpu, time.monotonic() - start)


def cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def loss(value):
    return f"{value:.4f}" if not math.isfinite(value) or abs(value) < 1e4 else f"{value:.1e}"


def row(stop, outcome):
    train, val, accuracy = outcome.last
    because = f": {stop.because}" if stop.because else ""
    return (
        f"| `{stop.command}` | **{stop.becomes}**{because} | {loss(outcome.first[0])} | {loss(train)} | {loss(val)}"
        f" | {accuracy:.3f} | {outcome.cpu_seconds:.0f} |"
    )


def table(stops):
    """The lines of the report, each as soon as it is known."""
    yield (
        f"Measured on {datetime.date.today()} with Python {platform.python_version()}, PyTorch {version('torch')},"
        f" {platform.machine()}, one thread each. CPU time includes the imports."
    )
    yield ""
    yield "| command | what happens | first train loss | last train loss | val loss | val accuracy | CPU s |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for stop in stops:
        yield row(stop, run(stop.command))


def between_marks(text, new, name="tour"):
    """`text` with what stands between the marks of that name replaced."""
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    if start not in text or end not in text:
        sys.exit(f"the file must hold the lines {start} and {end}")
    before, rest = text.split(start, 1)
    after = rest.split(end, 1)[1]
    return f"{before}{start}\n{new}\n{end}{after}"


def main():
    names = sorted({stop.command.split(".")[0] for stop in STOPS})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help=f"of {', '.join(names)}; default: all")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between the marks in FILE")
    args = parser.parse_args()
    if unknown := set(args.examples) - set(names):
        parser.error(f"no example is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if args.write and not args.write.is_file():
        parser.error(f"--write must name a file that exists, got {args.write}")

    lines = []
    for line in table([s for s in STOPS if not args.examples or s.command.split(".")[0] in args.examples]):
        print(line, flush=True)
        lines.append(line)
    if args.write:
        args.write.write_text(between_marks(args.write.read_text(), "\n".join(lines)))


if __name__ == "__main__":
    main()
