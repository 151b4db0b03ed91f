"""constant-output: one answer for every input, told apart from a model that is only at its start."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.findings import Verdict, judge
from trimtab.findings._progress import NO_GAIN
from trimtab.findings._spread import SMALL

from ._planted import falling, flat, found, layers, record, series

SAMPLES = len(range(0, 400, 16))


def outputs(spread: object, kind: str = "cross_entropy", **more: object) -> dict[str, object]:
    return {"kind": kind, "output_spread": spread, "output_std": 1.0, "target_std": 1.0, "rows": 64, **more}


@pytest.mark.parametrize("kind", ["cross_entropy", "nll", "bce", "bce_logits", "mse", "l1", "huber"])
def test_a_collapsed_model_is_stalled(kind):
    spread = np.where(np.arange(SAMPLES) < 5, 0.5, 1e-5)
    verdict = judge(record(series(flat(400), losses=outputs(spread, kind))))
    finding = verdict.findings[0]
    assert (verdict.outcome, finding.kind, finding.severity) == ("stalled", "constant-output", "fatal")
    assert finding.first_step == 80
    assert [c.kind for c in finding.consequences] == ["stalled-loss"]


@pytest.mark.parametrize(
    ("loss", "facts"),
    [
        (falling(400), outputs(1e-9)),  # it learned: what the outputs are, is right
        (flat(400), outputs(0.3)),
        (flat(400), outputs(0.0, rows=1)),
        (flat(400), outputs(0.0, "mse", target_std=0.0)),
        (flat(400), outputs(0.0, "unknown")),
        (flat(400), outputs(0.0, labels_seen=1)),
        (flat(400), outputs(np.where(np.arange(SAMPLES) == 0, 0.0, 0.2))),  # a head that began at zero
        (flat(40), outputs(0.0)),
    ],
)
def test_what_is_no_constant_output(loss, facts):
    if len(loss) < 400:
        facts = {name: value for name, value in facts.items() if np.ndim(value) == 0}
    assert found(judge(record(series(loss, losses=facts))), "constant-output") is None


@settings(deadline=None, max_examples=40)
@given(unit=st.floats(1e-6, 1e6), share=st.sampled_from([1e-9, 1e-3, 0.5]))
def test_the_unit_of_the_targets_changes_nothing(unit, share):
    facts = outputs(share * unit, "mse", target_std=unit)
    verdict = judge(record(series(flat(400, level=unit**2), chance=unit**2, losses=facts)))
    assert (found(verdict, "constant-output") is not None) == (share < 0.01)


def test_while_the_loss_still_moves_only_equal_outputs_count():
    loss = np.linspace(2.6, 2.25, 400) + 0.01 * np.random.default_rng(1).standard_normal(400)
    assert found(judge(record(series(loss, losses=outputs(1e-3)))), "constant-output") is None
    finding = found(judge(record(series(loss, losses=outputs(0.0)))), "constant-output")
    assert finding is not None
    assert finding.severity == "serious"


def test_live_it_is_said_of_equal_outputs_only():
    assert found(judge(record(series(flat(400), losses=outputs(0.0))), live=True), "constant-output") is not None
    assert found(judge(record(series(flat(400), losses=outputs(1e-3))), live=True), "constant-output") is None


def test_it_follows_from_dead_units():
    modules = {s: layers(1.0 if s else 0.2) for s in range(0, 400, 16)}
    (root,) = judge(record(series(flat(400), modules_at=modules, losses=outputs(0.0, rows=512)))).findings
    assert root.kind == "dead-units"
    assert {c.kind for c in root.consequences} == {"constant-output", "stalled-loss"}


def at_first(loss: np.ndarray, level: float, steps: int = 8) -> np.ndarray:
    return np.concatenate([np.full(steps, level), loss[steps:]])


@pytest.mark.parametrize(
    ("loss", "chance", "kind"),
    [
        (flat(400, level=0.93), 1.0, "mse"),  # chance, known from few targets, seems to be more than it is
        (at_first(flat(400, level=0.93), 1.0), None, "huber"),  # chance is not known: the mean alone was learned
        (at_first(flat(400, level=1.0), 2.0), 1.0, "mse"),  # at chance, after it fell from its start
    ],
    ids=["a little better than chance", "a little better than the start", "plateau"],
)
def test_one_answer_for_every_input_is_no_better_than_chance_whatever_the_loss_seems_to_say(loss, chance, kind):
    verdict = judge(record(series(loss, chance=chance, losses=outputs(1e-3, kind))))
    (root,) = verdict.findings
    assert (verdict.outcome, root.kind) == ("stalled", "constant-output")
    assert [c.kind for c in root.consequences] == ["stalled-loss"]
    other = judge(record(series(loss, chance=chance, losses=outputs(0.3, kind))))
    assert (other.outcome, other.findings) == ("unjudged", ())


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), share=st.floats(1e-4, SMALL))
def test_outputs_that_hardly_spread_explain_hardly_anything(seed, share):
    """The bound on which the rule rests, of the outputs that suit the targets best."""
    targets = np.random.default_rng(seed).standard_normal(500)
    best = targets.mean() + share * (targets - targets.mean())
    explained = 1 - float(np.mean((targets - best) ** 2) / targets.var())
    assert explained == pytest.approx(1 - (1 - share) ** 2)
    assert explained < NO_GAIN / 2


ONE_NUMBER = {
    "output_min": 1.0, "output_max": 1.0, "output_after": "softmax", "target_min": 0.0, "target_max": 1.0
}  # fmt: skip


def of_one_unit(loss: np.ndarray, live: bool = False, **more: object) -> Verdict:
    facts = outputs(0.0, "bce", **{**ONE_NUMBER, **more})
    return judge(record(series(loss, chance=0.69, losses=facts)), live=live)


def test_a_softmax_of_one_unit_is_constant_though_the_loss_falls():
    """The loss may be taken from the scores before the softmax, and fall to nothing."""
    verdict = of_one_unit(falling(400, first=0.7, last=0.001))
    (root,) = verdict.findings
    assert (verdict.outcome, root.kind, root.severity) == ("stalled", "constant-output", "fatal")
    assert root.causes[0].cause == "output-activation-mismatch"
    assert root.remedies == ("activation=softmax>sigmoid",)
    assert "a loss below chance cannot come from such answers" in root.says
    assert found(of_one_unit(falling(400, first=0.7, last=0.001), live=True), "constant-output") is not None


def test_a_softmax_of_one_unit_whose_loss_stands_still():
    (root,) = of_one_unit(flat(400, level=7.9)).findings
    assert (root.kind, root.remedies) == ("constant-output", ("activation=softmax>sigmoid",))
    assert "cannot come from" not in root.says


@pytest.mark.parametrize(
    "facts",
    [
        {"output_after": "sigmoid", "output_min": 0.02, "output_max": 0.98},
        {"output_after": "sigmoid", "target_min": np.arange(SAMPLES) % 2},  # where every row is of class 1, 1 is right
        {"output_after": "sigmoid", "output_min": np.where(np.arange(SAMPLES) < 3, 0.3, 1.0)},  # it was not always so
        {"output_after": "sigmoid", "output_max": np.nan, "output_min": np.nan},
    ],
)
def test_a_loss_that_fell_is_believed_where_the_outputs_were_not_one_number(facts):
    verdict = of_one_unit(falling(400, first=0.7, last=0.001), **facts)
    assert (verdict.outcome, verdict.findings) == ("trained", ())
