"""How model, loss and optimizer are connected: each fault is found, and a healthy run has none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings._planted import series, table
from trimtab.findings import judge
from trimtab.findings.causes import EXACT, STRONG, WEAK

from ._records import NAMES, N, always, chain, clue, record, run, shapes, trained, weights


def test_a_gradient_that_is_left_over_is_a_missing_zero_grad():
    found = clue("missing-zero-grad", run(losses={"leftover_grad_norm": 0.4}))
    assert found is not None
    assert (found.strength, found.remedies) == (EXACT, ("zero_grad=on",))
    assert clue("missing-zero-grad", run(losses={"leftover_grad_norm": 0.0})) is None
    once = np.full(len(range(0, N, 16)), np.nan)
    once[:2] = 0.4
    assert clue("missing-zero-grad", run(losses={"leftover_grad_norm": once})) is None, (
        "a trial run before the training"
    )
    assert clue("missing-zero-grad", run()) is None


def test_parameters_that_no_optimizer_holds_are_frozen():
    found = clue("frozen-parameters", run(info=shapes(untrained=["body.0.weight", "body.2.weight"])))
    assert found is not None
    assert "2 parameter tensors of the model are in no optimizer: body.0.weight, body.2.weight" in found.why
    assert clue("frozen-parameters", run(info=shapes(untrained=[]))) is None
    assert clue("frozen-parameters", run(info=shapes())) is None


@pytest.mark.parametrize(("count", "strength"), [(1, WEAK), (2, STRONG)])
def test_most_of_the_weights_without_a_gradient_count_for_more_than_few(count, strength):
    info = shapes()
    for entry in info["tensors"][:count]:
        entry["trainable"] = False
    found = clue("frozen-parameters", run(info=info))
    assert found is not None
    assert found.strength == strength


def test_a_gradient_of_exactly_zero_everywhere_is_a_detached_graph():
    found = clue("detached-graph", run(grad_norm=0.0))
    assert found is not None
    assert found.strength == EXACT
    assert clue("detached-graph", run(grad_norm=1e-12)) is None


@pytest.mark.parametrize("losses", [{"output_zeros": 1.0}, {"output_min": 1.0, "output_max": 1.0}])
def test_an_output_that_is_stuck_explains_a_gradient_of_zero(losses):
    assert clue("detached-graph", run(grad_norm=0.0, losses=losses)) is None


def test_a_loss_of_exactly_zero_has_no_gradient_and_no_cut():
    assert clue("detached-graph", run(np.zeros(N), grad_norm=0.0)) is None


def test_a_tensor_that_never_has_a_gradient_is_detached():
    rows = table("tensors", 1, tensor=[NAMES[2]], weight_norm=1.0)
    found = clue("detached-graph", run(info=shapes(), tensors=always(rows)))
    assert found is not None
    assert found.why.startswith("layers.0.weight, layers.1.weight never had a gradient")
    assert clue("detached-graph", run(info=shapes(), tensors=weights())) is None


def test_a_loss_that_is_minus_what_the_loss_function_returned_has_the_wrong_sign():
    falls = -np.linspace(2.3, 9, N)
    found = clue("wrong-sign", run(falls, losses={"value": -falls[::16]}), "diverging-loss", 50)
    assert found is not None
    assert found.strength == EXACT
    assert "is -2.30 where the loss function returned 2.30" in found.why
    loss = trained()
    assert clue("wrong-sign", run(loss, losses={"value": loss[::16]})) is None


def test_an_optimizer_that_maximises_has_the_wrong_sign():
    assert clue("wrong-sign", run(info={"groups": [{"lr": 0.1, "maximize": True}]})) is not None
    assert clue("wrong-sign", run(info={"groups": [{"lr": 0.1, "maximize": False}]})) is None


def test_no_wiring_is_blamed_for_a_healthy_run():
    healthy = record(
        series(
            trained(),
            modules_at=always(chain()),
            tensors=weights(),
            info=shapes(untrained=[], groups=[{"lr": 0.1, "maximize": False}]),
            losses={"leftover_grad_norm": 0.0, "value": trained()[::16]},
        )
    )
    for name in ("missing-zero-grad", "frozen-parameters", "detached-graph", "wrong-sign"):
        assert clue(name, healthy) is None, name


def test_a_loss_whose_sign_was_turned_is_lost_as_soon_as_it_falls():
    loss = -np.geomspace(2.3, 6.0, N)
    planted = run(loss, losses={"value": -loss[::16]}, info=shapes(model="Net", groups=[{"lr": 0.1}]))
    verdict = judge(planted)
    assert verdict.outcome == "blew_up"
    assert [(f.kind, f.severity, f.causes[0].cause) for f in verdict.findings] == [
        ("diverging-loss", "fatal", "wrong-sign")
    ]
    attack = run(loss, losses={"value": -loss[::16]}, info=shapes(model="", groups=[{"lr": 0.1}]))
    assert judge(attack).outcome == "trained"
