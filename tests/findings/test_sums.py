"""A summed loss is compared with chance summed; a bad start, a scaled loss or a strange one is not taken for a sum."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import Verdict, judge

from ._planted import falling, flat, record, series

ROWS = 64
SOFT = {"rows": ROWS, "classes": 10, "output_min": -1.5, "output_max": 1.5, "target_min": 0.0, "target_max": 9.0}


def judged(loss: np.ndarray, **losses: object) -> Verdict:
    return judge(record(series(loss, losses={**SOFT, **losses})))


def test_a_sum_that_falls_has_learned_and_the_page_says_that_it_is_a_sum():
    verdict = judged(ROWS * falling(300))
    assert verdict.outcome == "trained"
    assert verdict.loss["chance"] == pytest.approx(ROWS * 2.3)
    assert "chance 147 (the best constant answer; the loss is taken for a sum over 64 rows)" in verdict.compared[0]


def test_a_sum_that_stays_at_chance_is_stalled_not_diverging():
    verdict = judged(ROWS * flat(200))
    assert [f.kind for f in verdict.findings] == ["stalled-loss"]
    assert verdict.outcome == "stalled"


def test_a_mean_is_compared_as_it_is():
    verdict = judged(falling(300))
    assert verdict.loss["chance"] == pytest.approx(2.3)
    assert "sum" not in verdict.compared[0]


def test_a_bad_start_near_rows_times_chance_is_no_sum():
    """Outputs that reach into the hundreds: the mean itself is that large."""
    verdict = judged(np.geomspace(150, 0.1, 300), output_min=-300.0, output_max=300.0)
    assert verdict.loss["chance"] == pytest.approx(2.3)


@pytest.mark.parametrize("losses", [{"rows": -1}, {"rows": 2}, {"output_max": np.nan}, {"kind": "huber"}])
def test_where_it_is_not_certain_it_is_a_mean(losses):
    assert judged(ROWS * falling(300), **losses).loss["chance"] == pytest.approx(2.3)


def test_a_sum_of_squared_errors_is_seen():
    regression = {
        "kind": "mse",
        "classes": -1,
        "output_min": -0.5,
        "output_max": 0.5,
        "target_min": -2.0,
        "target_max": 2.0,
    }
    verdict = judge(record(series(ROWS * falling(200, first=1.0), chance=1.0, losses={**SOFT, **regression})))
    assert verdict.loss["chance"] == pytest.approx(ROWS)


CUT_OFF = {"kind": "nll", "output_after": "softmax", "output_min": np.log(1e-7), "output_max": 0.0}


def test_a_bad_start_whose_probabilities_were_cut_off_is_no_sum():
    """Probabilities of 1e-7 at the least, and a loss from the scores before them: 80 is the mean."""
    verdict = judged(np.geomspace(150, 2.3, 300), **CUT_OFF)
    assert verdict.loss["chance"] == pytest.approx(2.3)
    assert verdict.outcome != "trained"


def test_a_sum_of_probabilities_that_were_not_cut_off_is_seen():
    verdict = judged(ROWS * falling(300), **{**CUT_OFF, "output_min": -4.0})
    assert verdict.loss["chance"] == pytest.approx(ROWS * 2.3)


@pytest.mark.parametrize(("high", "rows"), [(1.0, 1), (0.8, ROWS)])
def test_a_binary_loss_is_bounded_by_its_probabilities_unless_they_are_1(high, rows):
    facts = {"kind": "bce", "output_min": 0.2, "output_max": high, "classes": 2, "target_max": 1.0}
    loss = 8 * ROWS * falling(300, first=0.9)
    verdict = judge(record(series(loss, chance=8.0, losses={**SOFT, **facts})))
    assert verdict.loss["chance"] == pytest.approx(8.0 * rows)
