"""The signal over depth: what fires, what must not, and what is not seen."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.findings import Verdict, at_least, judge

from ._planted import falling, flat, found, over_depth, record, series, table


def verdict_of(modules, loss=None, *, live: bool = False, **more) -> Verdict:
    return judge(record(series(flat(200) if loss is None else loss, modules=modules, **more)), live=live)


def signals(verdict: Verdict) -> list[tuple[str, str]]:
    kinds = ("vanishing-gradient", "exploding-gradient")
    return [(f.kind, f.severity) for f in verdict.findings if f.kind in kinds]


def test_a_gradient_that_shrinks_layer_by_layer_vanishes_and_the_stall_follows_from_it():
    verdict = verdict_of(over_depth(np.zeros(10), np.linspace(-9, -3, 10), activation="Sigmoid"))
    (finding,) = verdict.findings
    assert (finding.kind, finding.severity, finding.first_step) == ("vanishing-gradient", "fatal", 0)
    assert finding.evidence["log10_backward_ratio"] == pytest.approx(-6, abs=0.1)
    assert finding.causes[0].cause == "saturating-activation"
    assert finding.where[0] == {"module": "layers.0"}
    assert [c.kind for c in finding.consequences] == ["stalled-loss"]
    assert verdict.outcome == "stalled"


def test_a_signal_that_grows_layer_by_layer_explodes_though_weight_gradients_are_flat():
    # Weight variance 4/n over 20 ReLU layers: 10^2.7 forward and back, weight gradients flat (ratio 0.75).
    grows = np.linspace(0, 4.7, 20)
    verdict = verdict_of(over_depth(grows, grows[::-1]), loss=np.full(200, 2600.0))
    assert signals(verdict)[0][0] == "exploding-gradient"
    assert "initial-weights-too-large" in [c.cause for c in verdict.findings[0].causes]


def test_a_bad_start_that_the_training_got_over_is_no_more_than_a_warning():
    grows = np.linspace(0, 4.7, 20)
    high = verdict_of(over_depth(grows, grows[::-1]), loss=np.geomspace(2600, 0.1, 300))
    assert (high.outcome, signals(high)) == ("trained", [("exploding-gradient", "warning")])
    weak = verdict_of(over_depth(np.zeros(10), np.linspace(-9, -3, 10)), loss=falling(300))
    assert (weak.outcome, signals(weak)) == ("trained", [("vanishing-gradient", "note")])
    assert weak.findings[0].remedies == ()
    assert "nothing to do" in weak.findings[0].says


def test_a_loss_thrown_far_away_is_not_laid_on_a_signal_just_beyond_its_limit():
    loss = np.concatenate([[0.7], np.full(80, 30.0), np.geomspace(30, 1.1, 60), np.full(59, 1.1)])
    tensors = {0: table("tensors", 1, tensor="w", update_norm=20.0, weight_norm=1.0)}
    mild = over_depth(np.zeros(10), np.linspace(-6, -3, 10))
    verdict = verdict_of(mild, loss, chance=0.66, tensors=tensors)
    assert verdict.findings[0].kind == "diverging-loss"
    assert verdict.findings[0].causes[0].cause == "learning-rate-too-high"
    assert signals(verdict) == [("vanishing-gradient", "note")]
    strong = verdict_of(over_depth(np.zeros(10), np.linspace(-19, -3, 10)), loss, chance=0.66, tensors=tensors)
    assert signals(strong)[0][1] != "note"


def test_it_is_told_live_at_the_first_step():
    modules = over_depth(np.zeros(10), np.linspace(-9, -3, 10))
    assert signals(verdict_of(modules, loss=[2.3], live=True)) == [("vanishing-gradient", "serious")]


def healthy_signals():
    rng = np.random.default_rng(0)
    zero = np.zeros
    yield "He, 20 layers", over_depth(zero(20) + 0.1 * rng.standard_normal(20), 0.1 * rng.standard_normal(20))
    yield "BN and ReLU, 16 layers, backward x1.2112", over_depth(zero(16), np.log10(1.2112) * np.arange(16)[::-1])
    yield "tanh, gain 5/3", over_depth(zero(20), np.log10(1.1) * np.arange(20)[::-1])
    yield (
        "pre-LN residual, a power law",
        over_depth(0.5 * np.log10(np.arange(1, 41)), -0.5 * np.log10(np.arange(1, 41))),
    )
    branches = rng.standard_normal(24) * 0.3
    branches[1::3] = -np.inf
    yield "branches that begin at zero", over_depth(zero(24), branches)
    odd = zero(12)
    odd[0] = -4.0
    yield "one odd layer (a patch embedding)", over_depth(odd, zero(12))
    yield "two layers, the second small", over_depth(np.array([0.0, -2.5]), zero(2))
    yield "nothing recorded", over_depth(np.full(8, np.nan), np.full(8, np.nan))


@pytest.mark.parametrize(("name", "modules"), list(healthy_signals()))
@pytest.mark.parametrize("live", [False, True])
def test_healthy_signals_do_not_fire(name, modules, live):
    verdict = verdict_of(modules, loss=falling(300), live=live)
    assert signals(verdict) == [], name


def test_finite_width_alone_does_not_fire():
    depth, width = 40, 16
    shapes = {"tensors": [{"name": f"layers.{i}.weight", "shape": [width, width]} for i in range(depth)]}
    fired = 0
    for seed in range(200):
        steps = np.random.default_rng(seed).normal(-2.5 / width, np.sqrt(5 / width), depth)
        logs = np.cumsum(steps) / 2 / np.log(10)
        verdict = verdict_of(over_depth(logs, np.zeros(depth)), loss=falling(60), info=shapes)
        fired += bool(signals(verdict))
    assert fired <= 2


def test_a_convolutional_net_that_shrinks_its_maps_keeps_the_norm_not_the_rms():
    """Each entry of a large map gets less of the gradient than one of a small map; their norms are alike."""
    elements = np.array([32 * 64 * 32 * 32, 32 * 64 * 32 * 32, 32 * 128 * 16 * 16, 32 * 256 * 8 * 8, 32 * 512 * 4 * 4,
                         32 * 512, 32 * 512, 32 * 10])  # fmt: skip
    modules = over_depth(np.zeros(7), np.zeros(7), kinds="Conv2d")
    assert len(modules["elements"]) == len(elements)
    modules["elements"] = elements
    modules["grad_rms"] = (1e-3 / np.sqrt(elements)).astype("f4")
    assert signals(verdict_of(modules, loss=falling(100))) == []


def test_a_cell_called_over_time_is_one_layer_and_time_inside_an_lstm_is_said_to_be_unseen():
    calls = 100
    modules = table(
        "modules", calls + 1, call=np.arange(calls + 1), module=["cell"] * calls + ["head"],
        kind=["LSTMCell"] * calls + ["Linear"], weighted=True, elements=1024, out_rms=1.0,
        grad_rms=np.geomspace(1e-30, 1, calls + 1),
    )  # fmt: skip
    assert signals(verdict_of(modules, loss=falling(100))) == []
    deep = over_depth(np.zeros(4), np.zeros(4), extra=["LSTM"])
    assert any("over time" in sentence for sentence in verdict_of(deep, loss=falling(100)).compared)


def test_severities_are_ordered():
    assert at_least("fatal", "serious")
    assert not at_least("note", "warning")


def test_query_key_and_value_stand_beside_each_other_and_are_no_depth():
    # Two blocks of a healthy BERT: query and key get next to no gradient, value, which has the same input, does.
    grads = np.array([-6.08, -6.08, -4.08, -2.55, -3.6, -2.52, -6.05, -5.97, -4.05, -2.54, -3.65, -2.53])
    rows = over_depth(np.zeros(12), grads)
    assert signals(verdict_of(rows)) != []
    inputs = [1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 7, 8, 9]
    rows["in_rms"] = rows["in_max"] = np.array(inputs, dtype=rows["in_rms"].dtype)
    assert signals(verdict_of(rows)) == []


@pytest.mark.parametrize(("last", "severity"), [(0.1, "note"), (0.9, "note"), (1.5, "warning")])
def test_a_signal_that_shrinks_is_a_note_where_most_of_the_way_was_gone_all_the_same(last, severity):
    modules = over_depth(np.zeros(10), np.linspace(-6, 0, 10))
    curve = falling(400, last=last, noise=0.02)
    finding = found(judge(record(series(curve, modules=modules))), "vanishing-gradient")
    assert finding is not None
    assert finding.severity == severity
    unknown = found(judge(record(series(curve, modules=modules, chance=None))), "vanishing-gradient")
    assert unknown is not None
    assert unknown.severity == "note"
