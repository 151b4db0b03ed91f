"""dead-units: silent units are found where they go on being so, and not where healthy nets have them."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import judge
from trimtab.findings._dead_units import limit_of

from ._planted import at_samples, falling, flat, found, layers, record, series


def dying(n: int, from_step: int, share: float, start: float = 0.2, **kwargs: str) -> dict[int, dict[str, np.ndarray]]:
    return {s: layers(share if s >= from_step else start, 0.1, **kwargs) for s in range(0, n, 16)}


@pytest.mark.parametrize("seen_at", ["out_dead", "in_dead"])
def test_a_layer_that_dies_is_found_where_and_since_when(seen_at):
    planted = series(flat(400), modules_at=dying(400, 100, 1.0, column=seen_at), losses={"rows": 512})
    verdict = judge(record(planted))
    finding = verdict.findings[0]
    assert (verdict.outcome, finding.kind, finding.severity) == ("stalled", "dead-units", "fatal")
    assert finding.where[0] == {"module": "layers.0"}
    assert 100 <= finding.first_step <= 180
    assert finding.evidence["layers_affected"] == 1
    assert "stalled-loss" in [c.kind for c in finding.consequences]


def test_units_that_are_dead_in_a_net_that_learned_are_a_note_unless_nearly_all_are():
    some = judge(record(series(falling(400), modules_at=dying(400, 100, 0.6), losses={"rows": 512})))
    most = judge(record(series(falling(400), modules_at=dying(400, 100, 0.95), losses={"rows": 512})))
    assert [(f.kind, f.severity) for f in some.findings] == [("dead-units", "note")]
    assert [(f.kind, f.severity) for f in most.findings] == [("dead-units", "warning")]
    assert (some.outcome, most.outcome) == ("trained", "trained")


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [(0.34, 0.34, 512), (0.3, 0.55, 512), (0.2, 0.47, 32), (0.1, 0.8, 32), (0.0, 0.94, 8), (0.0, 1.0, 4)],
)
def test_what_healthy_nets_show_is_none(start, end, rows):
    modules = {s: layers(start if s == 0 else end) for s in range(0, 400, 16)}
    verdict = judge(record(series(flat(400), modules_at=modules, losses={"rows": rows})))
    assert found(verdict, "dead-units") is None


def test_units_that_come_back_are_not_dead():
    modules = {s: layers(1.0 if 100 < s < 300 else 0.1) for s in range(0, 400, 16)}
    assert found(judge(record(series(flat(400), modules_at=modules, losses={"rows": 512}))), "dead-units") is None


def test_dead_inputs_are_data():
    rows = layers(0.1)
    rows["in_dead"][0] = 1.0  # a first layer whose pixels never light up: in_after is null there
    assert judge(record(series(falling(400), modules_at=at_samples(400, rows), losses={"rows": 512}))).findings == ()


def test_a_layer_that_was_dead_from_the_start_is_found_though_it_did_not_rise():
    verdict = judge(record(series(flat(400), modules_at=at_samples(400, layers(1.0, 0.0)), losses={"rows": 512})))
    assert verdict.findings[0].kind == "dead-units"
    assert verdict.findings[0].first_step == 0


def test_fewer_rows_ask_for_a_larger_share():
    limits = [limit_of(rows) for rows in (8, 32, 128, 512, 4096, float("nan"))]
    assert limits == pytest.approx([0.95, 0.9, 0.7, 0.5, 0.5, 0.95])


def test_while_it_runs_only_a_whole_layer_counts():
    def live(share: float, n: int) -> bool:
        modules = dying(n, 16, share)
        return (
            found(judge(record(series(flat(n), modules_at=modules, losses={"rows": 512})), live=True), "dead-units")
            is not None
        )

    assert live(1.0, 400)
    assert not live(0.9, 400)
    assert not live(1.0, 30)


def test_a_record_of_one_step_or_without_these_columns_says_nothing():
    for n in (1, 400):
        assert judge(record(series(falling(n), modules_at={0: layers(1.0)}, losses={"rows": 512}))).findings == ()
    old = layers(0.1)
    del old["out_dead"], old["in_dead"], old["in_after"]
    assert judge(record(series(falling(400), modules_at=at_samples(400, old)))).findings == ()
