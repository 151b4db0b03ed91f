"""idle-parameter: what no step moves, told apart from what is moved now and then or elsewhere."""

from __future__ import annotations

import numpy as np

from trimtab.findings import judge

from ._planted import falling, flat, found, record, series, table
from .causes._records import chain

NAMES = ["body.weight", "body.bias", "head.weight"]
INFO = {"tensors": [{"name": n, "shape": [16, 16] if n.endswith("weight") else [16]} for n in NAMES]}


def rows(**norms: float) -> dict[str, np.ndarray]:
    named = {name.replace("_", "."): norm for name, norm in norms.items()}
    return table("tensors", len(named), tensor=list(named), grad_norm=list(named.values()), weight_norm=1.0)


def everywhere(n: int, **norms: float) -> dict[int, dict[str, np.ndarray]]:
    return dict.fromkeys(range(n), rows(**norms))


def test_a_tensor_without_gradient_is_named_and_a_note():
    tensors = everywhere(200, body_weight=1.0, body_bias=0.0)
    verdict = judge(record(series(falling(200), tensors=tensors, info=INFO)))
    (finding,) = verdict.findings
    assert (verdict.outcome, finding.kind, finding.severity) == ("trained", "idle-parameter", "note")
    assert [place["tensor"] for place in finding.where] == ["body.bias", "head.weight"]


def test_it_is_a_warning_where_the_loss_stands_still():
    verdict = judge(record(series(flat(200), tensors=everywhere(200, head_weight=1.0), info=INFO)))
    finding = found(verdict, "idle-parameter")
    assert finding is not None
    assert (finding.severity, finding.evidence["idle"]) == ("serious", 2)  # the stall that follows is


def test_all_gradients_exactly_zero_is_fatal_and_said_while_it_runs():
    for live in (False, True):
        verdict = judge(record(series(flat(200, noise=0.01), grad_norm=0.0, info=INFO)), live=live)
        assert (verdict.findings[0].kind, verdict.findings[0].severity) == ("idle-parameter", "fatal")
    assert verdict.outcome == "stalled"
    begun = np.where(np.arange(200) == 7, 1e-30, 0.0)
    assert found(judge(record(series(flat(200), grad_norm=begun))), "idle-parameter") is None
    assert found(judge(record(series(flat(9), grad_norm=0.0))), "idle-parameter") is None


def test_a_gradient_now_and_then_is_none_to_speak_of():
    tensors = everywhere(200, body_weight=1.0, body_bias=1.0)
    tensors[199] = rows(body_weight=1.0, body_bias=1.0, head_weight=1e-20)
    assert judge(record(series(falling(200), tensors=tensors, info=INFO))).findings == ()


def test_parameters_in_no_optimizer_and_frozen_ones_are_said_apart():
    info = {"tensors": [{**t, "trainable": t["name"] != "body.bias"} for t in INFO["tensors"]], "untrained": ["x.w"]}
    (finding,) = judge(
        record(series(falling(200), tensors=everywhere(200, body_weight=1.0, head_weight=1.0), info=info))
    ).findings
    assert (finding.evidence["in_no_optimizer"], finding.evidence["frozen"], finding.evidence["idle"]) == (1, 1, 0)
    assert "1 of 4 parameter tensors are in no optimizer: x.w" in finding.says


def test_what_another_optimizer_or_another_rank_moves_is_not_idle():
    full = everywhere(200, body_weight=1.0, body_bias=1.0, head_weight=1.0)
    first = series(falling(200), tensors=full, info={**INFO, "untrained": ["y.w"]})
    second = series(falling(200), optimizer=1, start=0.001, info={"tensors": [{"name": "y.w", "shape": [4, 4]}]})
    assert judge(record(first, second)).findings == ()
    ranks = [series(falling(200), process=i, info=INFO, tensors=everywhere(200, **held)) for i, held in
             enumerate([{"body_weight": 1.0}, {"body_bias": 1.0, "head_weight": 1.0}])]  # fmt: skip
    assert judge(record(*ranks, processes=2)).findings == ()


def test_one_step_and_old_records():
    assert (
        judge(record(series([2.3], info=INFO, tensors=everywhere(1, body_weight=1.0)))).findings[0].severity == "note"
    )
    assert judge(record(series(falling(200), info={"tensors": [{"name": "w", "shape": [2, 2]}]}))).findings == ()
    assert judge(record(series(falling(200), info={}))).findings == ()


def test_unscaled_inputs_are_named_where_the_gradient_of_everything_is_lost():
    modules = chain(rows={"in_rms": 3800.0, "in_max": 6000.0})
    saturated = {"kind": "nll", "output_after": "softmax", "output_min": np.log(1e-7), "output_max": 0.0}
    lost = record(series(flat(200, level=8.0), grad_norm=0.0, info=INFO, modules=modules, losses=saturated))
    finding = found(judge(lost), "idle-parameter")
    assert finding is not None
    assert [cause.cause for cause in finding.causes] == ["inputs-unscaled"]
    assert finding.remedies == ("inputs=standardise",)


def test_unscaled_inputs_are_not_blamed_for_a_head_that_is_not_used():
    modules = chain(rows={"in_rms": 3800.0, "in_max": 6000.0})
    tensors = everywhere(200, body_weight=1.0, body_bias=0.0)
    finding = found(judge(record(series(flat(200), tensors=tensors, info=INFO, modules=modules))), "idle-parameter")
    assert finding is not None
    assert "inputs-unscaled" not in [cause.cause for cause in finding.causes]
