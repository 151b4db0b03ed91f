"""Chance of a loss that is a multiple of the squared error, against the mean over the targets themselves."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import judge
from trimtab.findings._squares import chance_of_squares

from ._planted import record, series

ROWS, STEPS = 64, 12
Pairs = tuple[np.ndarray, np.ndarray]


def huber(error: np.ndarray, delta: float) -> np.ndarray:
    size = np.abs(error)
    return np.where(size <= delta, error**2 / 2, delta * (size - delta / 2))


def pairs(spread: float = 0.3, noise: float = 0.2) -> Pairs:
    """Outputs and targets of every sampled step, shape (STEPS, ROWS)."""
    rng = np.random.default_rng(0)
    targets = 5 + spread * rng.uniform(-1, 1, (STEPS, ROWS))
    return 5 + 0.5 * (targets - 5) + noise * rng.uniform(-1, 1, (STEPS, ROWS)), targets


def rows(outputs: np.ndarray, targets: np.ndarray, delta: float = 1.0, kind: str = "huber") -> dict[str, object]:
    """What is recorded of them."""
    related = [np.corrcoef(o, t)[0, 1] for o, t in zip(outputs, targets, strict=True)]
    return {
        "kind": np.array([kind] * len(outputs), dtype=object),
        "value": huber(outputs - targets, delta).mean(1),
        "rows": np.full(len(outputs), ROWS),
        "output_mean": outputs.mean(1), "output_std": outputs.std(1),
        "target_mean": targets.mean(1), "target_std": targets.std(1),
        "correlation": np.array(related, dtype=np.float32),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["huber", "smooth_l1"])
def test_it_is_what_the_mean_of_all_targets_would_cost(kind):
    outputs, targets = pairs()
    assert chance_of_squares(rows(outputs, targets, kind=kind)) == pytest.approx(
        huber(targets - targets.mean(), 1.0).mean(), rel=1e-3
    )


def test_a_few_errors_beyond_delta_are_lived_with():
    outputs, targets = pairs()
    outputs[:4] += 3
    assert chance_of_squares(rows(outputs, targets)) == pytest.approx(targets.var() / 2, rel=1e-3)


@pytest.mark.parametrize(
    "columns",
    [
        rows(*pairs(spread=8.0, noise=4.0)),  # most errors are beyond delta
        rows(*pairs(), delta=0.05),
        rows(*pairs(), kind="l1"),
        {name: column[:2] for name, column in rows(*pairs()).items()},
        {**rows(*pairs()), "correlation": np.full(STEPS, np.nan)},
        {},
    ],
    ids=["far", "small delta", "another kind", "two steps", "one answer", "nothing"],
)
def test_where_it_is_not_known(columns):
    assert np.isnan(chance_of_squares(columns))


def test_a_model_that_only_found_the_mean_has_not_trained():
    """Its loss came down from where it began, to what the mean of the targets costs."""
    outputs, targets = pairs(noise=0.3)
    outputs += 0.1 + (5 - outputs) * 0.9  # spread over a twentieth of the targets' deviation
    chance = float(targets.var() / 2)
    loss = chance * (1.02 + 0.3 * np.exp(-np.arange(16 * STEPS) / 4))
    facts = rows(outputs, targets)
    verdict = judge(record(series(loss + 1e-3 * chance * np.cos(np.arange(len(loss))), chance=np.nan, losses=facts)))
    assert verdict.outcome != "trained"
    assert verdict.loss["chance"] == pytest.approx(chance, rel=0.01)
