"""rank-divergence: ranks that hold different models, told apart from shards and from rounding."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import judge

from ._planted import PlantedSeries, falling, found, record, series, table


def rank(process: int, norms: object, n: int = 200, **more: object) -> PlantedSeries:
    """A rank whose weight norm at sampled steps is `norms(step)`."""
    tensors = {
        s: table("tensors", 2, tensor=["a.weight", "b.weight"], weight_norm=[3.0, norms(s)]) for s in range(0, n, 16)
    }  # type: ignore[operator]
    return series(falling(n, seed=process), process=process, tensors=tensors, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("live", [False, True])
def test_ranks_that_part_are_named_with_their_tensor(live):
    ranks = [rank(i, lambda s, i=i: 5.0 + i * 1e-4 * s) for i in range(4)]
    finding = found(judge(record(*ranks, processes=4), live=live), "rank-divergence")
    assert finding is not None
    assert finding.severity == "serious"
    assert finding.where == ({"tensor": "b.weight", "rank": 0}, {"tensor": "b.weight", "rank": 3})
    assert finding.first_step > 0


@pytest.mark.parametrize(("factor", "severity"), [(1.0, None), (1 + 1e-6, None), (1.1, "note")])
def test_rounding_is_none_and_another_start_a_note(factor, severity):
    finding = found(
        judge(record(rank(0, lambda s: 5.0), rank(1, lambda s: 5.0 * factor), processes=2)), "rank-divergence"
    )
    assert (finding.severity if finding else None) == severity


def test_ranks_that_are_averaged_now_and_then_are_a_note():
    ranks = [rank(0, lambda s: 5.0), rank(1, lambda s: 5.0 + (s % 64 != 0 and s < 150))]
    finding = found(judge(record(*ranks, processes=2)), "rank-divergence")
    assert finding is not None
    assert finding.severity == "note"


def test_shards_are_not_compared():
    ranks = [rank(i, lambda s, i=i: 5.0 + i * s) for i in range(2)]
    events = [{"kind": "unseen", "data": {"what": "the whole of sharded tensors", "why": "Parameters are sharded."}}]
    assert found(judge(record(*ranks, events=events, processes=2)), "rank-divergence") is None


def test_learning_rates_and_numbers_of_steps_that_differ():
    rates = [rank(i, lambda s: 5.0, lr=np.where(np.arange(200) > 50, 0.1 / (1 + i), 0.1)) for i in range(2)]
    finding = found(judge(record(*rates, processes=2)), "rank-divergence")
    assert finding is not None
    assert (finding.first_step, finding.severity) == (51, "warning")
    uneven = [rank(0, lambda s: 5.0), rank(1, lambda s: 5.0, n=150)]
    finding = found(judge(record(*uneven, processes=2)), "rank-divergence")
    assert finding is not None
    assert finding.evidence["steps"] == [150, 200]
    assert found(judge(record(*uneven, processes=2, status=-15)), "rank-divergence") is None
    assert found(judge(record(*uneven, processes=2), live=True), "rank-divergence") is None


def test_processes_that_are_no_ranks_are_not_compared():
    apart = record(rank(0, lambda s: 5.0), rank(1, lambda s: 5.0 + s))
    apart.meta["processes"] = [{"index": 0, "rank": None}, {"index": 1, "rank": None}]
    assert found(judge(apart), "rank-divergence") is None


def test_ranks_that_do_not_wait_for_each_other_are_compared_though_one_ended_before_the_other_began():
    first, late = rank(0, lambda s: 5.0), rank(1, lambda s: 5.0 + 0.01 * s, start=60.0)
    verdict = judge(record(first, late, processes=2))
    assert verdict.parts == ()
    assert found(verdict, "rank-divergence") is not None


def test_models_trained_in_turn_on_every_rank_stay_parts_of_their_own():
    ranks = [rank(i, lambda s: 5.0, optimizer=k, start=10.0 * k + i) for k in range(2) for i in range(2)]
    verdict = judge(record(*ranks, processes=2))
    assert [part.steps for part in verdict.parts] == [200, 200]
    assert found(verdict, "rank-divergence") is None
