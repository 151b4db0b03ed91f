"""Which activation a tensor has passed, on graphs written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

pytest.importorskip("keras")

from trimtab.frameworks._clock import LEAST_INTERVAL, SAMPLING_SHARE, SamplingClock
from trimtab.frameworks.keras._probe_graph import CHANGE, JOIN, MOVE, OTHER, PRODUCT, SUM, WEIGHTED, Graph, Node, Passed

Line = tuple[str, str, Sequence[str]]

#: x is data, w, v and b are trainable weights.
LAYER: tuple[Line, ...] = (("xw", PRODUCT, "xw"), ("z", SUM, ("xw", "b")), ("h", "relu", ("z",)))


def graph(*lines: Line) -> Graph:
    return Graph({name: Node(kind, tuple(inputs)) for name, kind, inputs in lines}, frozenset("wvb"))


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ((), Passed("relu", unchanged=True)),
        ((("y", MOVE, ("h",)),), Passed("relu", unchanged=True)),
        ((("y", CHANGE, ("h",)),), Passed("relu")),
        ((("y", SUM, ("h", "x")),), Passed("relu")),
        ((("y", JOIN, ("h", "h")),), Passed("relu", unchanged=True)),
        ((("y", SUM, ("h", "z")),), Passed(None)),
        ((("y", OTHER, ("h",)),), Passed(None)),
        ((("y", PRODUCT, ("h", "v")),), Passed("none")),
        ((("cast", MOVE, ("v",)), ("y", PRODUCT, ("h", "cast"))), Passed("none")),
        ((("y", PRODUCT, ("h", "x")),), Passed("relu")),
        ((("y", WEIGHTED, ("h",)),), Passed("none")),
        ((("y", MOVE, ("x",)),), Passed(None)),
    ],
)
def test_the_activation_is_found_through_what_leaves_it_in_sight(lines: tuple[Line, ...], passed: Passed) -> None:
    assert graph(*LAYER, *lines).passed(lines[-1][0] if lines else "h") == passed


def test_what_depends_on_no_trainable_weight_is_data() -> None:
    made = graph(("scaled", CHANGE, ("x",)), *LAYER)
    assert not made.is_learned("scaled")
    assert made.is_learned("xw")
    assert made.is_learned("h")


def test_what_a_layer_is_known_to_do_counts_more_than_its_operations() -> None:
    made = graph(*LAYER, ("mean", CHANGE, ("h",)), ("off", SUM, ("h", "mean")), ("y", OTHER, ("off", "mean")))
    assert made.passed("y") == Passed(None)
    made.know([("y", CHANGE, "h")])
    assert made.passed("y") == Passed("relu")


def test_what_is_measured_after_a_sampled_window_puts_off_the_next() -> None:
    clock, now = SamplingClock(), 0.0
    clock.resume(now, sampling=True)
    for _ in range(2):
        now += 1.0
        clock.end_sampled(0, now, 0.0)
    for _ in range(LEAST_INTERVAL):
        now += 1.0
        assert not clock.on
        clock.left -= 1
    clock.end_quiet(now)
    assert clock.on
    now += 1.0
    clock.end_sampled(0, now, 0.0)
    assert clock.left == LEAST_INTERVAL
    clock.spend_late(3.0)
    assert clock.left == LEAST_INTERVAL + round(3.0 / SAMPLING_SHARE)
