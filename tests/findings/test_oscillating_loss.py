"""oscillating-loss: swings that the steps make, told apart from the noise and the order of the batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.findings import judge

from ._planted import falling, found, record, series, table


def swinging(period: float, size: float = 0.5, n: int = 300, noise: float = 0.05, level: float = 1.2) -> np.ndarray:
    """Falls at once to a level and swings about it: a sine whose phase wanders, or an alternation."""
    rng = np.random.default_rng(0)
    phase = np.arange(n) * 2 * np.pi / period + np.cumsum(0.05 * rng.standard_normal(n)) * (period != 2)
    return level * np.exp(size * np.cos(phase) + noise * rng.standard_normal(n)) + 2 * np.exp(-np.arange(n) / 5)


def moves(n: int, update: float, grad: float = 1.0) -> dict[int, dict[str, np.ndarray]]:
    """Updates of this share of the weights' norm, 5."""
    rows = table("tensors", 1, tensor="w", grad_norm=grad, update_norm=5 * update, weight_norm=5.0)
    return dict.fromkeys(range(0, n, 16), rows)


@pytest.mark.parametrize("period", [2, 5.7, 11.3])
def test_swings_are_found_with_their_period(period):
    verdict = judge(record(series(swinging(period), tensors=moves(300, 0.5))))
    finding = found(verdict, "oscillating-loss")
    assert finding is not None
    assert finding.evidence["period"] == pytest.approx(period, abs=1)
    assert finding.severity == "warning"  # better than chance all the same
    assert finding.first_step < 100


def test_swings_about_chance_are_serious_and_the_stall_follows_from_them():
    verdict = judge(record(series(swinging(2, level=2.3), tensors=moves(300, 0.5))))
    (root,) = verdict.findings
    assert (verdict.outcome, root.kind, root.severity) == ("stalled", "oscillating-loss", "serious")
    assert [c.kind for c in root.consequences] == ["stalled-loss"]


def test_steps_too_short_to_make_the_swings_are_not_blamed_for_them():
    assert found(judge(record(series(swinging(2), tensors=moves(300, 1e-4)))), "oscillating-loss") is None


def test_steps_of_a_tenth_of_the_weights_toss_the_loss_without_a_period():
    loss = 1.2 * np.exp(0.6 * np.random.default_rng(2).standard_normal(300))
    finding = found(judge(record(series(loss, tensors=moves(300, 0.3)))), "oscillating-loss")
    assert finding is not None
    assert finding.evidence["period"] is None
    assert found(judge(record(series(loss, tensors=moves(300, 0.003)))), "oscillating-loss") is None


@pytest.mark.parametrize("period", [3, 7, 16])
def test_the_same_batches_in_every_epoch_are_no_swings(period):
    batches = np.exp(0.5 * np.random.default_rng(3).standard_normal(period))
    loss = 1.2 * np.resize(batches, 300) * np.exp(0.02 * np.random.default_rng(4).standard_normal(300))
    assert found(judge(record(series(loss))), "oscillating-loss") is None


@pytest.mark.parametrize("batches", [2, 3, 4])
def test_shuffled_epochs_of_few_batches_are_no_swings(batches):
    """Without replacement what one batch has, the others lack: neighbours are negatively related."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((300 // batches, batches))
    noise -= noise.mean(axis=1, keepdims=True)
    assert found(judge(record(series(1.2 * np.exp(0.3 * noise.ravel())))), "oscillating-loss") is None


@pytest.mark.parametrize(
    "loss",
    [
        swinging(2) * np.linspace(1.5, 0.5, 300),  # falls for all that
        swinging(2, level=0.05),  # nothing to gain
        swinging(2, size=0.02, noise=0.01),
        falling(300),
        swinging(2)[:30],
    ],
    ids=["falls", "low", "small", "healthy", "short"],
)
def test_what_is_no_oscillation(loss):
    assert found(judge(record(series(loss, tensors=moves(len(loss), 0.05)))), "oscillating-loss") is None


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.floats(0.05, 1.5), n=st.integers(40, 600))
def test_noise_never_swings(seed, size, n):
    loss = 1.2 * np.exp(size * np.random.default_rng(seed).standard_normal(n))
    assert found(judge(record(series(loss, tensors=moves(n, 0.05, grad=10.0)))), "oscillating-loss") is None


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(1e-6, 1e6))
def test_the_unit_of_the_loss_changes_nothing(scale):
    """A loss times k has gradients times k; the learning rate that makes the same steps is another."""
    for grad in (1.0, 1e-4):
        here, there = (
            judge(record(series(swinging(2) * k, chance=None, tensors=moves(300, 0.5, grad=grad * k))))
            for k in (1.0, scale)
        )
        assert [(f.kind, f.severity, f.first_step) for f in here.findings] == [
            (f.kind, f.severity, f.first_step) for f in there.findings
        ]


def thrown_up(n: int = 300, every: int = 9, to: float = 5000.0, level: float = 0.02) -> np.ndarray:
    """A loss near 0 that some steps throw up."""
    loss = level * np.exp(0.5 * np.random.default_rng(3).standard_normal(n))
    loss[4::every] = to
    return loss


def test_a_loss_that_is_thrown_up_again_and_again_does_not_stand_still():
    verdict = judge(record(series(thrown_up())))
    (finding,) = verdict.findings
    assert (verdict.outcome, finding.kind, finding.severity) == ("trained", "oscillating-loss", "serious")
    assert verdict.loss["last"] == pytest.approx(0.02, rel=0.5)
    assert finding.evidence["mean"] > 100


def test_validation_of_a_loss_that_is_thrown_up_is_not_called_overfitting():
    times, values = np.linspace(0, 3.01, 13)[1:], np.geomspace(20, 900, 12)
    verdict = judge(record(series(thrown_up()), metrics={"val_loss": (times, values)}))
    assert [finding.kind for finding in verdict.findings] == ["oscillating-loss"]


def test_one_peak_at_the_end_is_no_such_thing():
    loss = falling(300, last=0.02)
    loss[290] = 5000.0
    assert found(judge(record(series(loss))), "oscillating-loss") is None


def test_a_skewed_loss_at_chance_stands_still_though_most_steps_are_under_it():
    """One row in a hundred is of the other class: the median batch costs a sixth of chance, and the mean is chance."""
    positive = np.random.default_rng(0).random((400, 32)) < 0.01
    loss = np.where(positive, -np.log(0.01), -np.log(0.99)).mean(1)
    verdict = judge(record(series(loss, chance=float(loss.mean()), losses={"kind": "bce"})))
    assert (verdict.outcome, [f.kind for f in verdict.findings]) == ("stalled", ["stalled-loss"])
