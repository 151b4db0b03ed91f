"""How clues become causes: the strongest first, the weak only where nothing better is known, old records whole."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings._planted import record, series
from trimtab.findings import History, parts
from trimtab.findings.causes import EXACT, KNOWN, STRONG, WEAK, Case, Clue, KnownCause, explain
from trimtab.findings.causes._cause import explained

from ._records import N, always, chain, clue, flat, run, weights

DESIGN = [
    "learning-rate-too-high",
    "learning-rate-too-low",
    "missing-warm-up",
    "wrong-sign",
    "too-few-steps",
    "initial-weights-too-large",
    "initial-weights-too-small",
    "constant-initial-weights",
    "saturating-activation",
    "dying-activation",
    "missing-activation",
    "inputs-unscaled",
    "targets-unscaled",
    "output-activation-mismatch",
    "loss-mismatch",
    "labels-invalid",
    "missing-zero-grad",
    "unclipped-recurrence",
    "precision-overflow",
    "updates-lost-in-rounding",
    "invalid-operation",
    "stale-second-moment",
    "bad-batch",
    "batch-too-small",
    "too-much-dropout",
    "too-much-weight-decay",
    "clipping-too-tight",
    "depth-without-normalisation",
    "over-smoothing",
    "over-capacity",
    "weak-optimizer",
    "uninformative-data",
    "validation-leak",
    "frozen-parameters",
    "detached-graph",
    "unsynchronised-ranks",
    "out-of-memory",
    "missing-package",
    "old-spelling",
    "other-framework",
    "shape-mismatch",
    "type-mismatch",
    "device-mismatch",
    "index-out-of-range",
    "traced-value",
    "spent-graph",
]

TROUBLES = ("vanishing-gradient", "exploding-gradient", "diverging-loss", "non-finite", "stalled-loss", "slow-loss",
            "oscillating-loss", "loss-spike", "dead-units", "saturated-units", "constant-output", "overfitting",
            "idle-parameter", "rank-divergence", "ignored-setting", "crash")  # fmt: skip


def planted(name: str, strength: int | None, *remedies: str) -> KnownCause:
    return KnownCause(name, "", lambda case: None if strength is None else Clue(f"why {name}", strength, remedies))


def case() -> Case:
    made = record(series(flat(N)))
    (tracks,) = parts(made)
    return Case("stalled-loss", History(made, tracks), tracks[0], 0, N - 1)


def test_the_strongest_comes_first_and_ties_keep_their_order():
    known = (planted("a", STRONG, "x"), planted("b", EXACT, "y"), planted("c", STRONG, "x", "z"), planted("d", None))
    causes, remedies = explained(case(), known)
    assert [c.cause for c in causes] == ["b", "a", "c"]
    assert remedies == ("y",)
    assert explained(case(), (known[0], known[2]))[1] == ("x", "z")


def test_a_weak_clue_counts_only_where_there_is_no_better_one():
    weak = planted("a", WEAK, "x")
    assert [c.cause for c in explained(case(), (weak,))[0]] == ["a"]
    assert [c.cause for c in explained(case(), (weak, planted("b", STRONG)))[0]] == ["b"]
    assert explained(case(), (weak,), at_least=STRONG) == ((), ())


def test_every_cause_of_the_design_is_known():
    assert set(KNOWN) == set(DESIGN)
    assert all(cause.text.strip() for cause in KNOWN.values())


@pytest.mark.parametrize("name", DESIGN)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_nothing_measured_proves_nothing(name, trouble):
    """An old record, or one of which nothing but the loss was seen."""
    found = clue(name, run(flat(N), chance=None, losses={}), trouble, 0)
    assert found is None or found.strength < EXACT


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_look_lives_with_what_is_not_finite(trouble):
    loss = np.where(np.arange(N) > 100, np.nan, 2.3)
    broken = run(
        loss,
        grad_norm=np.where(np.arange(N) > 99, np.inf, 1.0),
        modules_at=always(chain(rows={"in_rms": np.nan, "out_rms": np.inf, "in_max": np.inf})),
        tensors=weights(np.nan, weight_norm=np.inf),
        losses={"output_min": np.nan, "output_max": np.inf, "target_max": np.inf, "rows": -1},
    )
    for name in KNOWN:
        clue(name, broken, trouble, 100)
    assert len(broken.planted[0].steps["loss"]) == N


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_look_lives_with_what_is_exactly_zero(trouble):
    rows = {"in_rms": 0.0, "in_max": 0.0, "in_spread": 0.0, "out_rms": 0.0, "out_spread": 0.0, "in_dead": 1.0}
    still = run(np.zeros(N), grad_norm=0.0, modules_at=always(chain(rows=rows)), tensors=weights(0.0, weight_norm=0.0))
    for name in KNOWN:
        clue(name, still, trouble, 100)
    assert clue("detached-graph", still, trouble, 100) is None


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_every_look_lives_with_a_short_run(steps):
    short = record(series([2.3] * steps))
    (tracks,) = parts(short)
    for trouble in TROUBLES:
        last = Case(trouble, History(short, tracks), tracks[0], steps - 1, steps - 1)
        causes, _ = explain(last, KNOWN)
        assert {c.cause for c in causes} <= set(KNOWN)
