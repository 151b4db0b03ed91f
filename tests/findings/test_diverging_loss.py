"""diverging-loss: a binary cross-entropy below 0, which labels from 0 to 1 cannot give."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import Verdict, judge

from ._planted import falling, found, record, series

SAMPLES = len(range(0, 300, 16))
RUNAWAY = 0.3 - 0.05 * np.arange(300) ** 1.5


def judged(loss: np.ndarray, live: bool = False, **facts: object) -> Verdict:
    known = {"kind": "bce", "target_min": -1.0, "target_max": 1.0, "value": loss[::16], **facts}
    return judge(record(series(loss, chance=0.4, losses=known)), live=live)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("loss", [RUNAWAY, np.where(np.arange(300) < 4, 0.2, -8.0)], ids=["no end", "a floor"])
def test_a_binary_loss_below_0_has_blown_up_and_the_labels_did_it(loss, live):
    facts = {"targets_whole": True, "target_values": 2}
    verdict = judged(loss, live, **facts)
    finding = found(verdict, "diverging-loss")
    assert finding is not None
    assert [cause.cause for cause in finding.causes] == ["labels-invalid"]
    assert finding.remedies == ("y = (y + 1) / 2",)
    assert finding.first_step == int(np.flatnonzero(loss < 0)[0])
    assert verdict.outcome == "blew_up" or live


def test_labels_of_1_and_2():
    finding = found(
        judged(RUNAWAY, target_min=1.0, target_max=2.0, targets_whole=True, target_values=2), "diverging-loss"
    )
    assert finding is not None
    assert finding.remedies == ("y = y - y.min()",)


@pytest.mark.parametrize(
    ("loss", "facts"),
    [
        (falling(300), {"target_min": 0.0}),
        (0.5 - falling(300), {"target_min": 0.0, "value": 1.0}),  # a bonus was taken from the loss
        (0.5 - falling(300), {"kind": "unknown"}),
        (falling(300), {"target_min": -1e-6, "target_max": 1 + 1e-6}),  # targets computed in floats
    ],
    ids=["valid", "bonus", "unknown", "rounding"],
)
def test_what_may_be_below_0_or_is_not(loss, facts):
    assert found(judged(loss, **facts), "diverging-loss") is None
    assert not [f for f in judged(loss, **facts).findings if "labels-invalid" in [c.cause for c in f.causes]]


def test_the_sign_is_not_blamed_for_a_loss_that_its_function_returned_below_0():
    """Above 0 at most of the sampled steps, as where it goes below late."""
    loss = np.where(np.arange(300) < 200, 0.2, -8.0)
    finding = found(judged(loss), "diverging-loss")
    assert finding is not None
    assert "wrong-sign" not in [cause.cause for cause in finding.causes]
