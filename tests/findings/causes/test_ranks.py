"""Ranks that do not take the same step: what differs between them while their weights are still equal."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings._planted import PlantedSeries, falling, found, record, series, table
from trimtab.findings import Finding, judge

N = 100


def rank(process: int, norms: np.ndarray | float, *, head: float = 1.0, apart: bool = True, **columns: object):
    """A rank whose weights part from those of rank 0 after the first step, if `apart`."""

    def tensors(step: int) -> dict[str, np.ndarray]:
        weight = 5.0 + (0.01 * process * step if apart else 0.0)
        return table("tensors", 2, tensor=["body", "head"], weight_norm=weight, grad_norm=[1.0, head])

    rows = {step: tensors(step) for step in range(0, N, 16)}
    made: PlantedSeries = series(falling(N, seed=process), process=process, tensors=rows, grad_norm=norms, **columns)
    return made


def divergence(*ranks: PlantedSeries) -> Finding | None:
    return found(judge(record(*ranks, processes=len(ranks))), "rank-divergence")


def why(finding: Finding | None) -> str:
    assert finding is not None
    return next((c.why for c in finding.causes if c.cause == "unsynchronised-ranks"), "")


def test_gradients_that_were_never_averaged():
    finding = divergence(rank(0, 1.0, head=1.0), rank(1, 1.4, head=1.0))
    assert "norm of 1 on rank 0 and of 1.40 on rank 1" in why(finding)


def test_a_layer_that_is_left_out():
    assert why(divergence(rank(0, 1.0), rank(1, 1.1, head=1.2))).startswith("the gradients of head are not averaged")


def test_a_learning_rate_of_its_own():
    rates = np.where(np.arange(N) >= 1, 0.2, 0.1)
    later = np.where(np.arange(N) >= 1, 1.3, 1.0)  # gradients differ once the weights do
    assert "at step 1 the learning rate is 0.1 on rank 0 and 0.2 on rank 1" in why(
        divergence(rank(0, 1.0), rank(1, later, lr=rates))
    )


@pytest.mark.parametrize("norms", [np.where(np.arange(N) >= 1, 1.3, 1.0), np.full(N, np.nan)], ids=["later", "unseen"])
def test_what_differs_only_once_the_weights_do_proves_nothing(norms):
    assert why(divergence(rank(0, 1.0), rank(1, norms))) == ""


def test_ranks_that_agree_have_no_trouble():
    assert divergence(rank(0, 1.0, apart=False), rank(1, 1.0 + 1e-7, apart=False)) is None
