"""slow-loss: still most of the way to go, for want of steps that are long enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.findings import judge

from ._planted import falling, flat, found, record, series, table


def crawling(n: int = 400, to: float = 2.0, noise: float = 0.01) -> np.ndarray:
    return np.linspace(2.3, to, n) * np.exp(noise * np.random.default_rng(0).standard_normal(n))


def moves(n: int, ratio: float, **more: float) -> dict[int, dict[str, np.ndarray]]:
    ratios = {"w": ratio, **more}
    rows = table("tensors", len(ratios), tensor=list(ratios), update_norm=list(ratios.values()), weight_norm=1.0)
    return dict.fromkeys(range(0, n, 16), rows)


@pytest.mark.parametrize(("ratio", "severity"), [(1e-5, "serious"), (1e-4, "warning"), (1e-2, "note"), (None, "note")])
def test_how_bad_it_is_depends_on_how_far_the_weights_went(ratio, severity):
    tensors = {} if ratio is None else moves(400, ratio)
    finding = found(judge(record(series(crawling(), tensors=tensors))), "slow-loss")
    assert finding is not None
    assert finding.severity == severity
    assert finding.evidence["steps_to_halve"] > 400


def test_a_loss_that_has_hardly_moved_is_stalled_though_it_falls():
    verdict = judge(record(series(crawling(to=2.25, noise=1e-3), tensors=moves(400, 1e-6))))
    assert (verdict.outcome, verdict.findings[0].kind) == ("stalled", "slow-loss")


def test_without_a_known_chance_it_is_a_note():
    """Fine-tuning starts where a trained model is, and moves little on purpose."""
    finding = found(judge(record(series(crawling(), chance=None, tensors=moves(400, 1e-6)))), "slow-loss")
    assert finding is not None
    assert finding.severity == "note"


def test_the_tensor_that_moves_most_counts():
    finding = found(judge(record(series(crawling(), tensors=moves(400, 1e-6, head=1e-2)))), "slow-loss")
    assert finding is not None
    assert finding.severity == "note"


@pytest.mark.parametrize(
    "loss",
    [falling(400), flat(400), crawling(to=0.9), crawling(12), crawling(1)],
    ids=["healthy", "flat", "most of the way", "short", "one step"],
)
def test_what_is_not_slow(loss):
    assert found(judge(record(series(loss, tensors=moves(len(loss), 1e-6)))), "slow-loss") is None


def test_a_loss_that_falls_fast_when_the_run_ends_wanted_more_steps():
    finding = found(judge(record(series(np.geomspace(2.8, 2.1, 400), tensors=moves(400, 5e-3)))), "slow-loss")
    assert (finding.severity, finding.causes[0].cause) == ("warning", "too-few-steps")


def test_a_run_of_too_few_steps_that_was_falling_is_noted():
    finding = found(judge(record(series(crawling(40), tensors=moves(40, 5e-3)))), "slow-loss")
    assert (finding.severity, finding.causes[0].cause) == ("note", "too-few-steps")


def noisy(n: int, to: float, noise: float = 0.06, seed: int = 0) -> np.ndarray:
    """A loss whose fall shows over the whole run, but not for certain in its second half."""
    rng = np.random.default_rng(seed)
    return np.linspace(2.3, to, n) * np.exp(noise * rng.standard_normal(n))


@pytest.mark.parametrize("seed", range(6))
def test_a_short_run_in_which_the_weights_hardly_moved_is_told_by_its_whole_fall(seed):
    finding = found(judge(record(series(noisy(64, 1.8, seed=seed), tensors=moves(64, 1.5e-3)))), "slow-loss")
    assert finding is not None
    assert (finding.severity, finding.causes[0].cause) == ("warning", "too-few-steps")


@pytest.mark.parametrize(
    ("loss", "chance", "ratio"),
    [
        (noisy(64, 1.8), 2.3, 5e-3),  # travelled 0.32, as trainings that went well do
        (noisy(64, 0.7), 2.3, 1.5e-3),  # most of the way is done
        (np.concatenate([np.full(8, 2.3), flat(56, level=1.6, seed=3)]), 2.3, 1.5e-3),  # came down at once, and rests
        (noisy(64, 1.3) * 0.5, 1.6, 1.5e-3),  # began at 72 % of chance, where a trained model left it
        (noisy(64, 1.8), None, 1.5e-3),
        (noisy(40, 1.8), 2.3, 1.5e-3),
    ],
    ids=["travels", "most of the way", "rests", "began trained", "chance not known", "too short"],
)
def test_what_little_travel_does_not_make_a_warning(loss, chance, ratio):
    verdict = judge(record(series(loss, chance=chance, tensors=moves(len(loss), ratio))))
    assert [f for f in verdict.findings if f.severity != "note"] == []


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(1e-6, 1e6))
def test_the_unit_of_the_loss_changes_nothing(scale):
    verdict = judge(record(series(crawling() * scale, chance=2.3 * scale, tensors=moves(400, 1e-5))))
    assert [(f.kind, f.severity) for f in verdict.findings] == [("slow-loss", "serious")]


BEYOND = {"classes": 5, "target_min": 1, "target_max": 5, "labels_seen": 5, "labels_beyond": 0.2}


@pytest.mark.parametrize(
    "loss",
    [falling(400), flat(400), crawling(), flat(4), flat(1), np.full(60, np.nan), 2.3 * 1.1 ** np.arange(200.0)],
    ids=["falls", "flat", "crawls", "short", "one step", "nan", "diverges"],
)
@pytest.mark.parametrize("live", [False, True])
def test_labels_that_are_no_class_are_told_of_whatever_the_loss_does(loss, live):
    finding = found(judge(record(series(loss, losses=BEYOND)), live=live), "slow-loss")
    assert finding is not None
    assert (finding.severity, finding.first_step) == ("serious", 0)
    assert [cause.cause for cause in finding.causes] == ["labels-invalid"]
    assert finding.remedies == ("y = y - y.min()",)


@pytest.mark.parametrize("loss", [flat(400), np.full(60, np.nan), 2.3 * 1.1 ** np.arange(200.0)])
def test_labels_that_are_no_class_are_told_of_once(loss):
    (root,) = judge(record(series(loss, losses=BEYOND))).findings
    assert root.causes[0].cause == "labels-invalid"


def test_labels_that_are_no_class_are_told_of_since_they_came():
    share = np.where(np.arange(25) < 3, 0.0, 0.1)
    finding = found(judge(record(series(falling(400), losses={**BEYOND, "labels_beyond": share}))), "slow-loss")
    assert finding is not None
    assert finding.first_step == 48


def test_labels_of_the_classes_are_not_spoken_of():
    facts = {**BEYOND, "target_min": 0, "target_max": 4, "labels_beyond": 0.0}
    assert judge(record(series(falling(400), losses=facts))).findings == ()
