"""output-activation-mismatch, and the readings of a model with several losses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings._planted import falling, found, record, series
from trimtab.findings import judge
from trimtab.findings.causes import EXACT

from ._records import SAMPLED, clue, run


@pytest.mark.parametrize(("kind", "remedy"), [("bce", "activation=relu>sigmoid"), ("nll", "activation=relu>softmax")])
def test_a_relu_gives_no_probabilities(kind, remedy):
    losses = {"kind": kind, "output_after": "relu", "output_min": 0.0, "output_max": 0.9, "classes": 3}
    given = clue("output-activation-mismatch", run(losses=losses))
    assert given is not None
    assert (given.strength, given.remedies) == (EXACT, (remedy,))


def test_a_regression_whose_targets_lie_beyond_is_to_drop_the_activation():
    losses = {"kind": "mse", "output_after": "tanh", "target_min": 200.0, "target_max": 500.0, "target_mean": 350.0}
    given = clue("output-activation-mismatch", run(losses=losses | {"target_std": 60.0}))
    assert given is not None
    assert given.remedies == ("output=linear",)


def test_what_one_loss_was_given_is_not_held_against_another():
    """A model with three heads, of which the table has the largest loss at each sampled step."""
    kinds = [("mse", "nll", "bce")[i % 3] for i in range(len(SAMPLED))]
    high = [{"mse": 4.2, "nll": -0.1, "bce": 0.99}[kind] for kind in kinds]
    low = [{"mse": -16.0, "nll": -9.0, "bce": 0.001}[kind] for kind in kinds]
    columns = {
        "kind": kinds,
        "output_min": low,
        "output_max": high,
        "target_max": [9.0 if k == "nll" else 1.0 for k in kinds],
    }
    planted = run(falling(200), losses={**columns, "chance": 0.69, "classes": 10, "target_min": 0.0})
    assert clue("output-activation-mismatch", planted) is None
    assert clue("labels-invalid", planted) is None
    assert not [f for f in judge(planted).findings if f.severity != "note"]


@pytest.mark.parametrize(("grows", "endless"), [(True, True), (False, False)])
def test_a_loss_that_falls_unbroken_below_0_has_no_least_value(grows, endless):
    steps = np.arange(400)
    loss = -1.3 - 100 * (steps / 400) ** 2 if grows else -100 * (1 - np.exp(-steps / 60))
    norms = np.linspace(0.7, 5.0, 400)
    finding = found(judge(record(series(loss, grad_norm=norms))), "diverging-loss")
    assert (finding is not None) is endless
    assert finding is None or finding.causes[0].cause == "wrong-sign"
