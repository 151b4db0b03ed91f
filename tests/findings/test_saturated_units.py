"""saturated-units: flat activations are found, and are a trouble only where learning suffers."""

from __future__ import annotations

import pytest

from trimtab.findings import judge

from ._planted import at_samples, falling, flat, found, layers, record, series


@pytest.mark.parametrize("column", ["out_saturated", "in_saturated"])
def test_a_saturated_layer_of_a_net_that_learns_nothing_is_serious(column):
    modules = at_samples(400, layers(0.95, 0.2, column=column, kind="Tanh"))
    finding = judge(record(series(flat(400), modules_at=modules))).findings[0]
    assert (finding.kind, finding.severity, finding.first_step) == ("saturated-units", "serious", 0)
    assert finding.where == ({"module": "layers.0"},)
    assert [c.kind for c in finding.consequences] == ["stalled-loss"]


def test_a_net_that_learned_may_be_saturated():
    modules = at_samples(400, layers(0.95, 0.2, column="out_saturated", kind="Tanh"))
    verdict = judge(record(series(falling(400), modules_at=modules)))
    assert (verdict.outcome, [(f.kind, f.severity) for f in verdict.findings]) == (
        "trained",
        [("saturated-units", "note")],
    )
    modules = at_samples(400, layers(0.7, 0.7, column="out_saturated", kind="Tanh"))
    assert judge(record(series(falling(400), modules_at=modules))).findings == ()


def test_the_activation_of_the_outputs_may_be_flat():
    rows = layers(0.1, 1.0, column="out_saturated", kind="Sigmoid")
    outputs = {name: column[:-1] for name, column in rows.items()}  # the last sigmoid gives the outputs
    assert found(judge(record(series(flat(400), modules_at=at_samples(400, outputs)))), "saturated-units") is None
    assert found(judge(record(series(flat(400), modules_at=at_samples(400, rows)))), "saturated-units") is not None


def test_it_begins_where_it_lasts_from():
    modules = {s: layers(0.1 if s < 200 else 0.97, column="out_saturated", kind="Tanh") for s in range(0, 400, 16)}
    finding = found(judge(record(series(flat(400), modules_at=modules))), "saturated-units")
    assert finding is not None
    assert 200 <= finding.first_step <= 272
    assert finding.evidence["share_at_start"] == pytest.approx(0.1)


def test_never_live_and_never_without_the_columns():
    modules = at_samples(400, layers(1.0, column="out_saturated", kind="Tanh"))
    assert found(judge(record(series(flat(400), modules_at=modules)), live=True), "saturated-units") is None
    unmeasured = at_samples(400, layers(float("nan"), column="out_saturated", kind="Tanh"))
    assert found(judge(record(series(flat(400), modules_at=unmeasured))), "saturated-units") is None
