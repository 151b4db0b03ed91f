"""The optimizer's settings: each fault is found in a record that has it, and not in one that has not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings._planted import layers
from trimtab.findings.causes import EXACT, STRONG, WEAK

from ._records import SAMPLED, N, clue, flat, jumping, optimizer, run, shapes, spiked, trained, weights


def test_what_grows_under_long_steps_is_laid_on_the_learning_rate():
    loss = np.concatenate([flat(50), np.geomspace(2.3, 1e6, 150)])
    found = clue("learning-rate-too-high", run(loss, tensors=weights(0.4)), "diverging-loss", 52)
    assert found is not None
    assert found.strength == STRONG
    assert found.why.startswith("the loss went from 2.05 to 1.0e+06 at learning rate 0.1 (SGD)")
    assert "its first step changed the weights by 40% of their size" in found.why
    assert found.remedies == ("lr*0.1", "clip=global:1.0")


def test_a_heavy_momentum_is_named():
    loss = np.concatenate([flat(50), np.geomspace(2.3, 1e6, 150)])
    found = clue("learning-rate-too-high", run(loss, info=optimizer("SGD", momentum=0.99)), "diverging-loss", 52)
    assert found is not None
    assert "(SGD, momentum 0.99)" in found.why


@pytest.mark.parametrize(("ratio", "strength"), [(0.3, STRONG), (1e-3, None), ([0.3] + [1e-3] * 12, WEAK)])
def test_a_stall_with_long_steps_is_laid_on_the_learning_rate(ratio, strength):
    found = clue("learning-rate-too-high", run(tensors=weights(ratio)))
    assert (found.strength if found else None) == strength


def test_a_loss_thrown_up_at_the_start_that_then_stalls():
    thrown = flat(N)
    thrown[1:4] = 400.0
    found = clue("learning-rate-too-high", run(thrown))
    assert found is not None
    assert "to 400 in the first steps" in found.why
    assert clue("learning-rate-too-high", run()) is None


def test_a_zigzag_is_an_overshoot_and_noise_is_not():
    zigzag = 1 + 0.3 * (-1.0) ** np.arange(N)
    assert clue("learning-rate-too-high", run(zigzag), "oscillating-loss") is not None
    for seed in range(20):
        assert clue("learning-rate-too-high", run(flat(N, noise=0.3, seed=seed)), "oscillating-loss") is None


def test_weights_that_hardly_travel_have_a_learning_rate_that_is_too_low():
    found = clue("learning-rate-too-low", run(tensors=weights(1e-6)))
    assert found is not None
    assert (found.strength, found.remedies) == (STRONG, ("lr*1000",))
    assert clue("learning-rate-too-low", run(tensors=weights(1e-3))) is None
    assert clue("learning-rate-too-low", run()) is None


def test_small_steps_without_any_gradient_are_not_the_learning_rates_doing():
    assert clue("learning-rate-too-low", run(tensors=weights(0.0), grad_norm=0.0)) is None


def test_a_learning_rate_of_zero_is_told_as_such():
    found = clue("learning-rate-too-low", run(lr=0.0, lr_max=0.0))
    assert found is not None
    assert found.strength == EXACT


def test_a_schedule_that_ends_the_learning_early():
    rates = 0.1 * 0.9 ** np.arange(N)
    found = clue("learning-rate-too-low", run(lr=rates))
    assert found is not None
    assert found.why.startswith("the learning rate had fallen from 0.1 to")
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(N) / N))
    assert clue("learning-rate-too-low", run(lr=cosine)) is None


@pytest.mark.parametrize(("ratio", "strength"), [(1.5e-4, WEAK), (2e-3, None)])
def test_small_steps_of_a_slow_loss(ratio, strength):
    found = clue("learning-rate-too-low", run(trained(), tensors=weights(ratio)), "slow-loss")
    assert (found.strength if found else None) == strength


def test_steps_that_are_long_only_at_first_want_a_warm_up():
    ratios = [0.5] + [2e-3] * 12
    adam = optimizer("Adam", betas=[0.9, 0.999])
    found = clue("missing-warm-up", run(tensors=weights(ratios), info=adam), "diverging-loss", 1)
    assert found is not None
    assert found.remedies == ("warmup=100",)
    warm = np.minimum(1.0, np.arange(N) / 50) * 0.1
    assert clue("missing-warm-up", run(tensors=weights(ratios), info=adam, lr_max=warm), "diverging-loss", 1) is None
    assert clue("missing-warm-up", run(tensors=weights(ratios)), "diverging-loss", 1) is None  # SGD
    always_long = run(tensors=weights([0.5] + [0.03] * 12), info=adam)
    assert clue("missing-warm-up", always_long, "diverging-loss", 1) is None
    assert clue("missing-warm-up", run(tensors=weights(2e-3), info=adam), "diverging-loss", 1) is None
    assert clue("missing-warm-up", run(tensors=weights(ratios), info=adam), "diverging-loss", 150) is None


def test_a_loss_that_still_falls_had_too_few_steps():
    falls = 2.3 * np.exp(-np.arange(N) / N) * np.exp(0.02 * np.random.default_rng(0).standard_normal(N))
    found = clue("too-few-steps", run(falls), "slow-loss")
    assert found is not None
    assert (found.strength, found.remedies) == (STRONG, ("steps*4",))
    assert clue("too-few-steps", run(), "slow-loss") is None
    assert clue("too-few-steps", run(falls), "overfitting") is None


@pytest.mark.parametrize(
    ("info", "rate", "word"),
    [
        (optimizer("Adadelta", rho=0.9), 1e-3, "made for 1"),
        (optimizer("Rprop"), 0.01, "signs"),
        (optimizer("SGD", momentum=0), 0.1, "without momentum"),
        (shapes(**optimizer("Adam", eps=0.1)), 1e-3, "outweighs"),
    ],
)
def test_weak_optimizers(info, rate, word):
    found = clue("weak-optimizer", run(lr=rate, info=info))
    assert found is not None
    assert word in found.why


@pytest.mark.parametrize(
    ("info", "rate"),
    [
        (optimizer("Adadelta", rho=0.9), 1.0),
        (optimizer("SGD", momentum=0.9), 0.1),
        (shapes(**optimizer("Adam", eps=1e-8)), 1e-3),
        ({}, 0.1),
    ],
)
def test_optimizers_that_are_not_weak(info, rate):
    assert clue("weak-optimizer", run(lr=rate, info=info)) is None


def test_an_adagrad_whose_steps_have_shrunk():
    ratios = 1e-2 / np.sqrt(1 + 40 * np.arange(13))
    assert clue("weak-optimizer", run(tensors=weights(ratios), info=optimizer("Adagrad"))) is not None
    assert clue("weak-optimizer", run(tensors=weights(1e-3), info=optimizer("Adagrad"))) is None


def test_a_long_gradient_of_an_ordinary_batch_meets_a_stale_second_moment():
    adam = optimizer("Adam", betas=[0.9, 0.999])
    loss = spiked(101, 9.0, 20)
    found = clue("stale-second-moment", run(loss, grad_norm=jumping(100), info=adam), "loss-spike", 101)
    assert found is not None
    assert "the gradient of step 100 was" in found.why
    assert clue("stale-second-moment", run(loss, grad_norm=jumping(100)), "loss-spike", 101) is None  # SGD
    calm = flat(N, level=1.0, seed=1)
    assert clue("stale-second-moment", run(loss, grad_norm=calm, info=adam), "loss-spike", 101) is None
    at_once = spiked(100, 9.0)
    assert clue("stale-second-moment", run(at_once, grad_norm=jumping(100), info=adam), "loss-spike", 100) is None


def shrinking(last: float) -> dict[int, dict[str, np.ndarray]]:
    rows = weights()
    for norm, columns in zip(np.geomspace(1, last, 13), rows.values(), strict=True):
        columns["weight_norm"][:] = norm
    return rows


def test_weights_that_a_large_decay_shrinks():
    decay = optimizer("SGD", weight_decay=0.5)
    found = clue("too-much-weight-decay", run(tensors=shrinking(0.01), info=decay))
    assert found is not None
    assert found.strength == STRONG
    assert clue("too-much-weight-decay", run(tensors=shrinking(0.9), info=decay)) is None
    usual = optimizer("SGD", weight_decay=5e-4)
    assert clue("too-much-weight-decay", run(tensors=shrinking(0.01), info=usual)) is None
    assert (
        clue("too-much-weight-decay", run(tensors=shrinking(0.01), info=optimizer("AdamW", weight_decay=0.1))) is None
    )


@pytest.mark.parametrize(
    ("name", "factor", "strength"), [("SGD", 0.01, STRONG), ("Adam", 0.01, WEAK), ("SGD", 0.5, None)]
)
def test_a_clip_that_cuts_every_step_to_one_length(name, factor, strength):
    raw = flat(N, level=3.0, noise=0.3, seed=1)
    planted = run(grad_norm_raw=raw, grad_norm=factor * raw, info=optimizer(name), tensors=weights(1e-5))
    found = clue("clipping-too-tight", planted)
    assert (found.strength if found else None) == strength


def test_a_clip_that_cuts_now_and_then_is_not_too_tight():
    raw = flat(N, level=0.5, noise=0.5, seed=1)
    assert clue("clipping-too-tight", run(grad_norm_raw=raw, grad_norm=np.minimum(raw, 1.0))) is None


@pytest.mark.parametrize(
    ("share", "before", "ratio", "blamed"),
    [(0.95, 0.1, 0.02, True), (0.6, 0.1, 0.02, True), (0.95, 0.9, 0.02, False), (0.4, 0.0, 0.02, False),
     (0.95, 0.1, 0.005, False)],
    ids=["all die", "most die", "born dead", "some die", "steps of a healthy length"],
)  # fmt: skip
def test_units_that_long_steps_have_killed(share, before, ratio, blamed):
    dead = {0: layers(0.0, before, column="in_dead"), 192: layers(0.0, share, column="in_dead")}
    found = clue("learning-rate-too-high", run(modules_at=dead, tensors=weights(ratio)))
    assert (found is not None) == blamed
    if found is not None:
        assert found.strength == STRONG
        assert found.why.startswith(f"{share:.0%} of the units before layers.2 died")


@pytest.mark.parametrize(("ratio", "strength"), [(0.15, None), (0.3, WEAK), (2.0, STRONG)])
def test_a_single_long_step_is_evidence_only_beyond_those_of_healthy_trainings(ratio, strength):
    """Adam's first step at a usual rate changes small weights by 16 %."""
    ratios = np.full(len(SAMPLED), 2e-3)
    ratios[0] = ratio
    found = clue("learning-rate-too-high", run(tensors=weights(ratios)))
    assert (found.strength if found else None) == strength


@pytest.mark.parametrize(("ratio", "strength"), [(5e-4, STRONG), (9e-4, WEAK), (2e-3, None)])
def test_a_loss_that_stands_still_where_the_weights_hardly_travel(ratio, strength):
    """0.1, 0.18 and 0.4 of their size in 200 steps; of the trainings that went well none travelled under 0.3."""
    found = clue("learning-rate-too-low", run(tensors=weights(ratio)))
    assert (found.strength if found else None) == strength


@pytest.mark.parametrize(
    ("trouble", "ratio", "strength"),
    [
        ("constant-output", 5e-4, STRONG),  # travelled 0.1
        ("constant-output", 9e-4, None),  # 0.18
        ("stalled-loss", 9e-4, WEAK),
    ],
)
def test_small_steps_at_chance_are_to_blame_where_the_weights_hardly_moved(trouble, ratio, strength):
    found = clue("learning-rate-too-low", run(tensors=weights(ratio)), trouble)
    assert (found.strength if found else None) == strength


@pytest.mark.parametrize(
    ("trouble", "ratio", "strength"),
    [
        ("stalled-loss", 6e-4, STRONG),  # travelled 0.12
        ("slow-loss", 6e-4, WEAK),
        ("stalled-loss", 2e-3, None),  # 0.4, as trainings that went well
        ("stalled-loss", 5e-5, None),  # the steps are too short
    ],
)
def test_a_loss_at_chance_whose_weights_hardly_moved_had_too_few_steps(trouble, ratio, strength):
    found = clue("too-few-steps", run(tensors=weights(ratio)), trouble)
    assert (found.strength if found else None) == strength
