"""loss-spike: a jump that the training gets over, told apart from noise, schedules and the order of the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.findings import judge

from ._planted import falling, found, record, series


def with_jump(step: int, factor: float, back: int, n: int = 600, noise: float = 0.1) -> np.ndarray:
    """A falling loss that is multiplied at `step` and comes back within `back` steps."""
    loss = falling(n, noise=noise)
    t = np.arange(n) - step
    return loss * np.where(t >= 0, 1 + (factor - 1) * np.exp(-np.maximum(t, 0) * 3 / back), 1.0)


def norms(n: int, jump: int | None = None, factor: float = 30.0) -> np.ndarray:
    norm = np.exp(0.2 * np.random.default_rng(1).standard_normal(n))
    if jump is not None:
        norm[jump : jump + 2] *= factor
    return norm


@pytest.mark.parametrize("step", [60, 200, 500])
@pytest.mark.parametrize("factor", [3.0, 50.0])
def test_a_jump_is_told_with_its_step_height_and_length(step, factor):
    verdict = judge(record(series(with_jump(step, factor, 30), grad_norm=norms(600, step), chance=None)))
    finding = found(verdict, "loss-spike")
    assert finding is not None
    assert (verdict.outcome, finding.severity, finding.first_step) == ("trained", "warning", step)
    assert 5 <= finding.evidence["steps_to_recover"] <= 60
    assert finding.evidence["peak"] / finding.evidence["loss_before"] == pytest.approx(factor, rel=0.5)


def test_several_jumps_are_one_finding():
    loss = with_jump(200, 8, 20) * with_jump(400, 4, 20) / falling(600, noise=0.1)
    finding = found(judge(record(series(loss, grad_norm=norms(600, 200)))), "loss-spike")
    assert finding is not None
    assert (finding.first_step, finding.evidence["spikes"]) == (200, 2)
    assert finding.last_step >= 400


@pytest.mark.parametrize(
    "loss",
    [
        falling(600, noise=0.5),
        with_jump(300, 20, 1, noise=0.2),  # one loss only
        with_jump(5, 20, 10),  # the first steps
        with_jump(300, 1.02, 20, noise=0.001),
        with_jump(595, 20, 1e9),  # not back at the end
    ],
    ids=["noise", "one batch", "transient", "small", "no return"],
)
def test_what_is_no_spike(loss):
    assert found(judge(record(series(loss, grad_norm=norms(600)))), "loss-spike") is None


def test_a_restart_of_the_schedule_is_none():
    rate = 0.1 * (0.02 + np.cos(np.pi / 2 * (np.arange(600) % 300) / 300))
    loss = with_jump(300, 6, 60, noise=0.05)
    assert found(judge(record(series(loss, lr=rate, lr_max=rate))), "loss-spike") is None
    assert found(judge(record(series(loss))), "loss-spike") is not None


def test_a_hard_stretch_of_every_epoch_is_the_order_of_the_data():
    loss = falling(600, noise=0.05) * np.where(np.arange(600) % 100 >= 90, 2.5, 1.0)
    assert found(judge(record(series(loss))), "loss-spike") is None


def test_a_small_rise_of_a_loss_near_its_end_does_not_matter():
    loss = np.where(np.arange(600) < 50, 2.3, 1e-4) * np.where((np.arange(600) > 300) & (np.arange(600) < 310), 30, 1)
    assert (
        found(judge(record(series(loss * np.exp(0.02 * np.random.default_rng(0).standard_normal(600))))), "loss-spike")
        is None
    )


def test_a_gradient_that_jumps_alone_is_a_note():
    finding = found(judge(record(series(falling(600), grad_norm=norms(600, 300)))), "loss-spike")
    assert finding is not None
    assert (finding.severity, finding.first_step) == ("note", 300)
    assert found(judge(record(series(falling(600), grad_norm=norms(600)))), "loss-spike") is None


@settings(deadline=None, max_examples=30)
@given(scale=st.floats(1e-6, 1e6), step=st.integers(60, 550), factor=st.floats(1.0, 100.0))
def test_the_unit_of_the_loss_changes_nothing(scale, step, factor):
    loss = with_jump(step, factor, 25)
    here, there = (judge(record(series(loss * k, chance=None))) for k in (1.0, scale))
    assert [(f.kind, f.severity, f.first_step) for f in here.findings] == [
        (f.kind, f.severity, f.first_step) for f in there.findings
    ]


def test_a_loss_that_may_be_negative_and_a_gan_are_not_judged():
    signed = with_jump(300, 20, 30) - 3
    assert found(judge(record(series(signed, chance=None))), "loss-spike") is None
    both = [series(with_jump(300, 20, 30), optimizer=i, start=0.001 * i) for i in range(2)]
    assert found(judge(record(*both)), "loss-spike") is None
