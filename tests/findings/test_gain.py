"""The gain of the weights is held against the activation that is there, and not against one that is not seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trimtab.findings import Cause, Verdict, judge
from trimtab.findings._gain import KEEPS_SCALE, activations

from ._planted import flat, over_depth, record, series, table

DEPTH, WIDTH = 10, 128
SHRINKS, GROWS = np.linspace(-9, -3, DEPTH), np.linspace(3, -3, DEPTH)


def with_gain(gain: float, backward: np.ndarray, **modules: object) -> Verdict:
    """A net whose hidden weights have this gain, whose gradient changes like that, and that does not learn."""
    names = [f"layers.{i}.weight" for i in range(DEPTH)]
    norms = gain / math.sqrt(WIDTH) * WIDTH
    planted = series(
        flat(200),
        modules=over_depth(np.zeros(DEPTH), backward, **modules),  # type: ignore[arg-type]
        tensors={0: table("tensors", DEPTH, tensor=names, weight_norm=norms)},
        info={"tensors": [{"name": name, "shape": [WIDTH, WIDTH]} for name in names]},
    )
    return judge(record(planted))


def cause(verdict: Verdict, name: str) -> Cause | None:
    return next((cause for cause in verdict.findings[0].causes if cause.cause == name), None)


@pytest.mark.parametrize(
    ("activation", "why"),
    [
        ("Sigmoid", "weights of gain 0.577 where 1 is usual under Sigmoid"),
        ("Tanh", "weights of gain 0.577 where 1.67 keeps the scale under Tanh"),
        ("ReLU", "weights of gain 0.577 where 1.41 keeps the scale under ReLU"),
        ("GELU", "weights of gain 0.577 where 1.53 keeps the scale under GELU"),
        ("SELU", "weights of gain 0.577 where 1 keeps the scale under SELU"),
        ("", "weights of gain 0.577 where 1 keeps the scale with no activation between the layers"),
        (None, "weights of gain 0.577; which activation follows them is not seen (under ReLU 1.41 keeps the scale)"),
        ("Softplus", "weights of gain 0.577; which gain keeps the scale under Softplus is not known here"),
    ],
)
def test_small_weights_are_held_against_the_activation_that_is_there(activation, why):
    found = cause(with_gain(1 / math.sqrt(3), SHRINKS, activation=activation), "initial-weights-too-small")
    assert found is not None
    assert found.why == why


def test_weights_of_the_right_gain_are_no_cause():
    for activation, gain in KEEPS_SCALE.items():
        for name, backward in (("small", SHRINKS), ("large", GROWS)):
            verdict = with_gain(gain, backward, activation=activation)
            assert cause(verdict, f"initial-weights-too-{name}") is None, activation


def test_a_gain_that_suits_one_activation_is_too_large_for_another():
    assert cause(with_gain(1.6, GROWS, activation="Tanh"), "initial-weights-too-large") is None
    found = cause(with_gain(1.6, GROWS, activation="SELU"), "initial-weights-too-large")
    assert found is not None
    assert found.why == "weights of gain 1.60 where 1 keeps the scale under SELU"


def test_a_sigmoid_at_the_output_does_not_stand_after_every_layer():
    verdict = with_gain(0.577, SHRINKS, activation="ReLU", extra=["Sigmoid"])
    assert cause(verdict, "saturating-activation") is None
    assert verdict.findings[0].remedies[0] == "init=he"


def test_tanh_is_to_blame_only_where_the_signal_is_not_small():
    """What is small passes tanh unchanged; no gain keeps the gradient through a sigmoid."""
    for activation, gain, blamed in (("Tanh", 0.577, False), ("Tanh", 3.0, True), ("Sigmoid", 0.577, True)):
        verdict = with_gain(gain, SHRINKS, activation=activation)
        assert (cause(verdict, "saturating-activation") is not None) == blamed, (activation, gain)


def test_the_layers_that_a_saturating_activation_follows_are_counted():
    modules = over_depth(np.zeros(DEPTH), SHRINKS, activation="Tanh")
    assert activations(modules) == ["Tanh"] * DEPTH
    modules["kind"][[1, 3]] = "ReLU"
    (finding,) = judge(record(series(flat(200), modules=modules))).findings
    assert finding.causes[0].why.startswith("Tanh after 8 of 10 layers")


def test_a_function_between_the_layers_is_known_by_the_next_ones_input():
    modules = over_depth(np.zeros(DEPTH), SHRINKS, activation=None)
    assert activations(modules) == [None] * DEPTH
    for name, kind in (("tanh", "Tanh"), ("none", ""), ("something_new", None)):
        modules["in_after"][1:] = name
        assert activations(modules) == [kind] * DEPTH


@pytest.mark.parametrize("name", ["ReLU", "GELU", "SiLU", "ELU", "Mish", "SELU", "LeakyReLU"])
def test_the_gains_keep_the_scale_of_a_normal_input(name):
    """1/sqrt(E f(x)^2) by quadrature with PyTorch's own function."""
    torch = pytest.importorskip("torch")
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    weights = torch.exp(-x * x / 2)
    square = float((getattr(torch.nn, name)()(x) ** 2 * weights).sum() / weights.sum())
    assert KEEPS_SCALE[name] == pytest.approx(1 / math.sqrt(square), rel=1e-3)
