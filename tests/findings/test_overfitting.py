"""overfitting: a validation loss that has turned, told apart from noise, plateaus and a late generalisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.findings import Finding, judge
from trimtab.findings._overfitting import LOSS, NAME, rise_of

from ._planted import falling, found, record, series
from .causes._records import chain, shapes


def turning(n: int = 20, best: int = 6, low: float = 0.8, high: float = 1.6, noise: float = 0.01) -> np.ndarray:
    """Falls from 2.3 to `low` at evaluation `best`, rises to `high` at the last."""
    i = np.arange(n)
    curve = np.where(i <= best, 2.3 + (low - 2.3) * i / best, low + (high - low) * (i - best) / max(1, n - 1 - best))
    return curve * np.exp(noise * np.random.default_rng(0).standard_normal(n))


def judged(values: np.ndarray, name: str = "val_loss", loss: np.ndarray | None = None) -> Finding | None:
    """A run of 600 steps, 0.01 apart, with these evaluations evenly over it."""
    loss = falling(600, last=0.01) if loss is None else loss
    times = np.linspace(0, 6.01, len(values) + 1)[1:]
    return found(judge(record(series(loss), metrics={name: (times, values)})), "overfitting")


@pytest.mark.parametrize(("high", "severity"), [(0.9, "note"), (1.2, "warning"), (1.8, "serious")])
def test_a_rise_is_told_by_what_it_has_lost(high, severity):
    finding = judged(turning(high=high))
    assert finding is not None
    assert finding.severity == severity
    assert finding.first_step == pytest.approx(210, abs=40)
    assert finding.evidence["least"] == pytest.approx(0.85, rel=0.1)


@pytest.mark.parametrize(
    "values",
    [
        turning(best=19, high=0.8),  # falls to the end
        turning(5, best=2),
        turning(best=18),  # its least was just now
        turning(low=0.8, high=0.8, noise=0.05),
        np.concatenate([turning(), np.linspace(1.5, 0.3, 10)]),  # generalises in the end
    ],
    ids=["falls", "few", "just now", "noise", "late"],
)
def test_what_has_not_turned(values):
    finding = judged(values)
    assert rise_of(values) is None
    assert finding is None or (finding.severity, "share_lost" in finding.evidence) == ("note", False)


def test_a_gap_without_a_rise_is_a_note():
    finding = judged(turning(low=0.8, high=0.8, noise=0.01))
    assert finding is not None
    assert finding.severity == "note"


def test_validation_that_stays_at_chance_while_training_learns_is_serious():
    at_chance = 2.3 * np.exp(0.01 * np.random.default_rng(1).standard_normal(40))
    finding = judged(at_chance)
    assert finding is not None
    assert finding.severity == "serious"
    assert finding.causes[0].cause == "uninformative-data"
    late = np.where(np.arange(40) > 30, 0.4, at_chance)
    assert judged(late) is None or judged(late).severity == "note"


def test_both_losses_rising_is_no_overfitting():
    up = falling(600) * np.where(np.arange(600) > 200, np.linspace(0, 30, 600), 1)
    assert judged(turning(high=1.9), loss=up) is None


@pytest.mark.parametrize(
    "name", ["val_loss", "eval_loss", "Valid/Loss", "test loss", "validation_loss_2", "dev.nll", "valLoss"]
)
def test_names_of_validation_losses(name):
    assert NAME.search(name)
    assert LOSS.search(name)
    assert judged(turning(high=1.8), name) is not None


@pytest.mark.parametrize("name", ["loss", "train_loss", "val_accuracy", "value_loss", "interval_loss", "evaluate"])
def test_other_names_are_not_taken_for_one(name):
    assert judged(turning(high=1.8), name) is None


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), noise=st.floats(0.0, 0.3), n=st.integers(1, 80), rate=st.floats(0.5, 10))
def test_a_validation_loss_that_falls_with_noise_has_not_turned(seed, noise, n, rate):
    values = 0.5 + 1.8 * np.exp(-rate * np.arange(n) / n)
    rise = rise_of(values * np.exp(noise * np.random.default_rng(seed).standard_normal(n)))
    assert rise is None or rise.lost < 0.1


@settings(deadline=None, max_examples=30)
@given(scale=st.floats(1e-6, 1e6))
def test_the_unit_of_the_loss_changes_nothing(scale):
    here, there = rise_of(turning()), rise_of(turning() * scale)
    assert here is not None
    assert there is not None
    assert (there.best, there.lost) == (here.best, pytest.approx(here.lost))


def test_each_model_of_several_has_its_own_evaluations():
    runs = [series(falling(600, last=0.01), optimizer=i, start=10.0 * i) for i in range(2)]
    times = np.linspace(10, 16.01, 21)[1:]
    verdict = judge(record(*runs, metrics={"val_loss": (times, turning(high=1.8))}))
    assert [[f.kind for f in part.findings] for part in verdict.parts] == [[], ["overfitting"]]


def regression(values: np.ndarray, last: float, rows: int, chance: float = 1.0) -> Finding | None:
    """A regression whose training loss ends at `last`; `rows` targets were seen at each of 38 sampled steps."""
    loss = falling(600, first=1.2, last=last, noise=0.05)
    losses = {"kind": "mse", "rows": rows, "target_std": 1.0}
    made = record(
        series(loss, chance=chance, losses=losses),
        metrics={"val_loss": (np.linspace(0, 6.01, len(values) + 1)[1:], values)},
    )
    return found(judge(made), "overfitting")


def test_nothing_carries_over_though_chance_is_known_from_few_targets_only():
    """Chance seems to be 1.1 and may be 0.97: validation never was better, and never came down."""
    rising = np.linspace(0.98, 1.06, 10)
    finding = regression(rising, 0.8, rows=9, chance=1.1)
    assert finding is not None
    assert finding.severity == "warning"
    assert [c.cause for c in finding.causes] == ["uninformative-data"]


@pytest.mark.parametrize(
    ("values", "last", "rows"),
    [
        (np.linspace(0.98, 0.7, 10), 0.6, 9),  # validation comes down
        (np.full(10, 0.6), 0.5, 9),  # clearly under chance from its first value on
        (np.linspace(0.90, 0.91, 10), 0.8, 10_000),  # a little signal, and chance is known well
    ],
    ids=["comes down", "low at once", "known well"],
)
def test_what_carries_over(values, last, rows):
    finding = regression(values, last, rows)
    assert finding is None or finding.severity == "note"


def test_a_gap_is_held_against_the_least_that_chance_may_be():
    """Validation at 0.7 of a chance that is known to 14 % only: as good as nothing is certain to carry over."""
    few, many = (regression(np.full(10, 0.7), 1e-3, rows) for rows in (3, 10_000))
    assert few is not None
    assert many is not None
    assert (few.severity, many.severity) == ("warning", "note")


def test_a_rise_too_small_to_matter_does_not_hide_that_next_to_nothing_carries_over():
    """Learnt by heart: validation gained a tenth of what training did, and then crept up by nothing to speak of."""
    values = np.concatenate([[1.0, 0.93], 0.9 + 1e-5 * np.arange(10)])
    assert rise_of(values, 1.0).lost < 0.01
    finding = regression(values, 1e-3, rows=10_000)
    assert finding is not None
    assert finding.severity == "warning"
    assert "share_lost" not in finding.evidence


def test_unscaled_inputs_are_named_where_the_answers_began_far_off():
    values = 2.3 * np.exp(0.01 * np.random.default_rng(1).standard_normal(40))
    times = np.linspace(0, 6.01, 41)[1:]
    modules = chain(rows={"in_rms": 140.0, "in_max": 255.0})
    for first, named in ((80.0, True), (2.4, False)):
        run = series(falling(600, first=first, last=0.01), modules=modules, info=shapes())
        finding = found(judge(record(run, metrics={"val_loss": (times, values)})), "overfitting")
        assert finding is not None
        assert ("inputs-unscaled" in [cause.cause for cause in finding.causes]) == named
