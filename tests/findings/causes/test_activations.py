"""Activations between the layers and at the output: each fault is found, and a healthy net has none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tests.findings._planted import layers, over_depth
from trimtab.findings.causes import EXACT, STRONG, WEAK

from ._records import N, always, chain, clue, flat, run, trained, weights


def after(*names: str | None, **rows: object) -> dict[str, object]:
    """A chain of layers whose inputs have passed these activations."""
    return {"modules_at": always(chain(["Linear"] * len(names), rows={"in_after": list(names), **rows}))}


def test_a_function_that_saturates_is_seen_over_depth():
    """F.sigmoid has no module: the next layer's input tells."""
    modules = over_depth(np.zeros(10), np.linspace(-9, -3, 10))
    modules["in_after"][1:] = "sigmoid"
    found = clue("saturating-activation", run(modules=modules), "vanishing-gradient")
    assert found is not None
    assert found.why.startswith("Sigmoid after every layer")
    assert found.remedies == ("activation=sigmoid>relu",)
    modules["in_after"][1:] = "relu"
    assert clue("saturating-activation", run(modules=modules), "vanishing-gradient") is None


@pytest.mark.parametrize("column", ["in_saturated", "out_saturated"])
def test_entries_where_the_activation_is_flat(column):
    found = clue("saturating-activation", run(modules_at=always(layers(0.1, 0.8, column=column, kind="Tanh"))))
    assert found is not None
    assert found.strength == STRONG
    assert "80% of the entries that tanh gives" in found.why
    assert clue("saturating-activation", run(modules_at=always(layers(0.1, 0.3, column=column, kind="Tanh")))) is None


@pytest.mark.parametrize(("depth", "strength"), [(1, WEAK), (4, STRONG)])
def test_several_sigmoids_in_turn(depth, strength):
    found = clue("saturating-activation", run(**after(None, *["sigmoid"] * depth)))
    assert found is not None
    assert found.strength == strength


def test_units_that_die_in_the_course_of_a_run():
    dead = always(layers(0.1, 0.1)) | {192: layers(0.1, 0.8, column="in_dead")}
    found = clue("dying-activation", run(modules_at=dead | {0: layers(0.0, 0.1, column="in_dead")}))
    assert found is not None
    assert found.why.startswith("80% of the units before layers.2 answer 0 to every input (10% at the first step)")


@pytest.mark.parametrize("shares", [(0.2, 0.3), (0.47, 0.47), (np.nan, np.nan)])
def test_units_that_are_silent_for_a_batch_are_not_dead(shares):
    assert clue("dying-activation", run(modules_at=always(layers(*shares, column="in_dead")))) is None


def test_a_gradient_that_ends_for_good():
    norms = np.where(np.arange(N) < 60, 1.0, 0.0)
    found = clue("dying-activation", run(grad_norm=norms))
    assert found is not None
    assert found.why.startswith("since step 60 the gradient is exactly 0")
    assert clue("dying-activation", run()) is None


@pytest.mark.parametrize(
    ("names", "strength"),
    [((None, "none", "none"), EXACT), ((None, "none"), STRONG), ((None, "none", "none", "relu"), WEAK),
     ((None, "relu", "relu"), None), ((None, None, None), None), ((None, "none", None), None), ((None,), None)],
)  # fmt: skip
def test_layers_without_an_activation_between_them(names, strength):
    found = clue("missing-activation", run(**after(*names)))
    assert (found.strength if found else None) == strength


@pytest.mark.parametrize(
    ("widths", "strength"),
    [((64, 16, 64), WEAK), ((64, 32, 8, 32, 64), WEAK), ((64, 128, 64, 10), EXACT), ((64, 64, 64, 64), EXACT)],
    ids=["autoencoder", "deep autoencoder", "classifier", "square"],
)
def test_a_linear_net_that_narrows_may_be_meant(widths, strength):
    names = (None, *["none"] * (len(widths) - 2))
    pairs = enumerate(pairwise(widths))
    tensors = [{"name": f"layers.{i}.weight", "shape": [b, a], "dtype": "float32"} for i, (a, b) in pairs]
    found = clue("missing-activation", run(**after(*names), info={"tensors": tensors}))
    assert found is not None
    assert found.strength == (STRONG if strength == EXACT and len(names) < 3 else strength)


def test_a_recurrent_net_has_its_activations_inside():
    rows = chain(["LSTM", "Linear"], rows={"in_after": [None, "none"]})
    assert clue("missing-activation", run(modules_at=always(rows))) is None


@pytest.mark.parametrize(
    ("kind", "losses", "strength"),
    [
        ("cross_entropy", {"rows_sum_to_one": 1.0}, EXACT),
        ("cross_entropy", {"output_after": "softmax"}, EXACT),
        ("cross_entropy", {"output_after": "tanh", "output_min": -1, "output_max": 1}, STRONG),
        ("cross_entropy", {"output_zeros": 0.5, "output_min": 0, "output_max": 3}, STRONG),
        ("cross_entropy", {"output_after": "none", "rows_sum_to_one": 0.0, "output_zeros": 0.0}, None),
        ("cross_entropy", {}, None),
        ("nll", {"output_min": -2, "output_max": 3}, EXACT),
        ("nll", {"output_min": -9, "output_max": -0.01, "output_after": "log_softmax"}, None),
        ("nll", {"output_min": -2.4612, "output_max": -1.4612, "classes": 10}, EXACT),  # softmax twice
        ("nll", {"output_min": -2.4612, "output_max": -1.4612, "classes": 4}, None),  # of 4 classes it would be -0.74
        ("bce", {"output_min": -2.0, "output_max": 3.0}, EXACT),
        ("bce", {"output_min": 0.0, "output_max": 1.0}, None),
        ("nll", {"output_min": -2.5, "output_max": -2.1, "output_after": "log_softmax"}, None),  # has not learned yet
        ("kl_div", {"output_max": 0.7}, EXACT),
        ("bce_logits", {"output_after": "sigmoid", "output_min": 0.2, "output_max": 0.8}, EXACT),
        ("bce_logits", {"output_after": "none", "output_min": -2, "output_max": 2}, None),
        ("bce", {"output_after": "sigmoid", "output_min": 0.2, "output_max": 0.8}, None),
        ("bce", {"output_after": "softmax", "output_min": 1, "output_max": 1}, EXACT),
        ("bce", {"output_min": 1, "output_max": 1}, STRONG),
    ],
)
def test_what_the_loss_of_classes_wants(kind, losses, strength):
    found = clue("output-activation-mismatch", run(losses={"kind": kind, **losses}))
    assert (found.strength if found else None) == strength


@pytest.mark.parametrize(
    ("activation", "low", "high", "strength"),
    [
        ("relu", -2, 2, EXACT),
        ("relu", -0.5, 9, STRONG),
        ("relu", 0, 9, None),
        ("sigmoid", 0, 50, EXACT),
        ("sigmoid", 0, 1, None),
        ("tanh", -1, 1.01, None),
        ("none", -3, 3, None),
        (None, -3, 3, None),
    ],
)
def test_targets_that_the_output_cannot_reach(activation, low, high, strength):
    mean, std = (low + high) / 2, (high - low) / 4
    losses = {"kind": "mse", "output_after": activation, "target_min": low, "target_max": high,
              "target_mean": mean, "target_std": std}  # fmt: skip
    found = clue("output-activation-mismatch", run(losses=losses))
    assert (found.strength if found else None) == strength


def test_outputs_that_a_relu_has_silenced():
    losses = {"kind": "mse", "output_zeros": 0.98, "target_min": 0.0, "target_max": 3.0}
    found = clue("output-activation-mismatch", run(losses=losses))
    assert found is not None
    assert "98% of the outputs are exactly 0" in found.why


def test_no_activation_is_blamed_for_a_healthy_run():
    rows = layers(0.05, 0.1, column="in_dead")
    healthy = run(trained(), modules_at=always(rows), tensors=weights(), losses={"output_after": "none"})
    for name in ("saturating-activation", "dying-activation", "missing-activation", "output-activation-mismatch"):
        assert clue(name, healthy) is None, name
        assert clue(name, run(flat(N))) is None, name
