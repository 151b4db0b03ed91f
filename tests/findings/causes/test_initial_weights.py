"""The weights at the start, and what should hold the scale: each fault is found, and a healthy net has none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.findings._planted import falling, over_depth, table
from trimtab.findings.causes import EXACT, STRONG, WEAK

from ._records import NAMES, N, always, chain, clue, flat, jumping, run, shapes, spiked, trained, weights

WIDTH = 64


def with_gain(gain: float, **columns: object) -> dict[str, object]:
    """Three square matrices of this gain under ReLU."""
    rows = table("tensors", 3, tensor=list(NAMES), weight_norm=gain * math.sqrt(WIDTH))
    return {"tensors": {0: rows}, "info": shapes(), "modules": chain(rows={"in_after": [None, "relu", "relu"]})}


@pytest.mark.parametrize(("gain", "name"), [(8.0, "large"), (0.1, "small"), (1.41, None), (0.577, None)])
def test_a_gain_far_from_the_one_that_keeps_the_scale(gain, name):
    for size in ("large", "small"):
        found = clue(f"initial-weights-too-{size}", run(**with_gain(gain)))
        assert (found is not None) == (size == name), size
        if found is not None:
            assert "keeps the scale under ReLU" in found.why
            assert found.remedies == ("init=he",)


def test_over_depth_the_gain_is_held_against_the_signal():
    shrinks = over_depth(np.zeros(10), np.linspace(-9, -3, 10), activation="ReLU")
    grows = over_depth(np.zeros(10), np.linspace(3, -3, 10), activation="ReLU")
    assert clue("initial-weights-too-small", run(modules=shrinks), "vanishing-gradient") is not None
    assert clue("initial-weights-too-large", run(modules=shrinks), "vanishing-gradient") is None
    assert clue("initial-weights-too-large", run(modules=grows), "exploding-gradient") is not None
    level = over_depth(np.zeros(10), np.zeros(10), activation="ReLU")
    assert clue("initial-weights-too-small", run(modules=level), "vanishing-gradient") is None


def twins(first: float, last: float) -> dict[int, dict[str, np.ndarray]]:
    rows = weights(twin_units=[0.0, first, 0.0])
    rows[max(rows)]["twin_units"][1] = last
    return rows


def test_units_that_begin_equal_and_stay_equal():
    found = clue("constant-initial-weights", run(tensors=twins(1.0, 1.0)))
    assert found is not None
    assert found.strength == EXACT
    assert "layers.1.weight" in found.why
    assert "still at the last" in found.why


@pytest.mark.parametrize("bias", ["multi_head_attention/query/bias", "gru/gru_cell/bias:0", "blocks.0.bias"])
def test_biases_of_two_axes_that_begin_at_zero_are_as_they_should_be(bias):
    rows = {0: table("tensors", 2, tensor=["dense/kernel", bias], weight_norm=[1.0, 0.0], twin_units=[0.0, 1.0])}
    assert clue("constant-initial-weights", run(tensors=rows)) is None


@pytest.mark.parametrize(("first", "last"), [(1.0, 0.0), (0.0, 0.0), (0.3, 0.3), (np.nan, np.nan)])
def test_units_that_part_or_never_were_equal(first, last):
    """A head that begins at zero has equal units, until its first gradient."""
    assert clue("constant-initial-weights", run(tensors=twins(first, last))) is None


def test_many_layers_without_a_normalisation():
    deep = ["Linear"] * 12
    found = clue("depth-without-normalisation", run(modules=chain(deep)))
    assert found is not None
    assert found.strength == WEAK
    assert clue("depth-without-normalisation", run(modules=chain(["Linear"] * 3))) is None
    assert clue("depth-without-normalisation", run(modules=chain([*deep[:6], "LayerNorm", *deep[6:]]))) is None


def test_a_signal_that_changes_over_depth_without_a_normalisation():
    shrinks = over_depth(np.zeros(10), np.linspace(-9, -3, 10))
    found = clue("depth-without-normalisation", run(modules=shrinks), "vanishing-gradient")
    assert found is not None
    assert found.strength == STRONG
    assert "over 10 layers and no normalisation among them" in found.why
    held = over_depth(np.zeros(10), np.linspace(-9, -3, 10), extra=["LayerNorm"])
    assert clue("depth-without-normalisation", run(modules=held), "vanishing-gradient") is None


@pytest.mark.parametrize("kinds", [["LSTM", "Linear"], ["RNNCell", "Linear"]])
def test_a_recurrent_net_whose_gradient_jumps_unclipped(kinds):
    planted = run(spiked(101, 9.0, 20), grad_norm=jumping(100), modules=chain(kinds))
    found = clue("unclipped-recurrence", planted, "loss-spike", 101)
    assert found is not None
    assert (found.strength, found.remedies) == (STRONG, ("clip=global:1.0",))


def test_no_recurrence_or_a_clip_leaves_it_out():
    spike, norms = spiked(101, 9.0, 20), jumping(100)
    plain = run(spike, grad_norm=norms, modules=chain())
    assert clue("unclipped-recurrence", plain, "loss-spike", 101) is None
    clipped = run(spike, grad_norm_raw=norms, grad_norm=np.minimum(norms, 0.5), modules=chain(["LSTM", "Linear"]))
    assert clue("unclipped-recurrence", clipped, "loss-spike", 101) is None


def test_a_layer_that_is_called_many_times_is_recurrent():
    rows = chain(["Linear"] * 20)
    rows["module"][:19] = "cell"
    found = clue("unclipped-recurrence", run(modules=rows), "non-finite", 100)
    assert found is not None
    assert found.strength == WEAK
    assert found.why.startswith("cell is recurrent")


def library_net(name: str, shape: list[int], gain: float) -> dict[str, object]:
    """A fused recurrent layer with recurrent weights of this gain, k gates of n units."""
    info = {"tensors": [{"name": name, "shape": shape, "dtype": "float32"}]}
    rows = {0: table("tensors", 1, tensor=[name], weight_norm=gain * np.sqrt(max(shape)))}
    return {"modules": chain(["LSTM", "Linear"]), "info": info, "tensors": rows}


@pytest.mark.parametrize(
    ("name", "shape"),
    [("rnn.weight_hh_l0", [128, 32]), ("lstm/recurrent_kernel", [32, 128]), ("cell.hh.weight", [32, 32])],
)
@pytest.mark.parametrize("trouble", ["stalled-loss", "diverging-loss", "slow-loss"])
def test_recurrent_weights_that_stretch_what_they_are_applied_to(name, shape, trouble):
    found = clue("initial-weights-too-large", run(**library_net(name, shape, 4.6)), trouble)
    assert found is not None
    assert (found.strength, found.remedies) == (STRONG, ("init=orthogonal",))
    assert "gain of 4.6" in found.why


@pytest.mark.parametrize("gain", [0.577, 1.0, 1.41, 2.0])
def test_recurrent_weights_as_libraries_and_papers_begin_them(gain):
    """PyTorch's default, orthogonal, He's; and twice the scale, which a gate lives with."""
    planted = run(**library_net("rnn.weight_hh_l0", [128, 32], gain))
    assert clue("initial-weights-too-large", planted) is None


def test_that_a_net_is_recurrent_explains_no_stall():
    assert clue("unclipped-recurrence", run(modules=chain(["LSTM", "Linear"])), "stalled-loss") is None


def smoothing(factor: float, model: str = "GCN") -> dict[str, object]:
    rows = chain(["Linear"] * 8, rows={"out_spread": factor ** np.arange(8)})
    return {"modules_at": always(rows), "info": {"model": model}}


@pytest.mark.parametrize(
    ("factor", "model", "strength"), [(0.4, "GCN", STRONG), (0.4, "Net", None), (0.9, "GCN", None)]
)
def test_rows_that_become_alike_over_depth(factor, model, strength):
    found = clue("over-smoothing", run(**smoothing(factor, model)))
    assert (found.strength if found else None) == strength


def test_neighbours_that_are_averaged_behind_the_weights_and_dropout_that_sets_rows_apart_again():
    """The least spread between one weighted layer and the next is what counts."""
    kinds = ["Linear", "Identity", "Dropout"] * 6 + ["Linear"]
    rows = chain(kinds, rows={"out_spread": [*np.outer(0.75 ** np.arange(6), [1.0, 0.5, 0.9]).ravel(), 1.0]})
    rows["weighted"] = np.array([kind == "Linear" for kind in kinds])
    found = clue("over-smoothing", run(modules_at=always(rows), info={"model": "GCN"}))
    assert found is not None
    assert "from 0.5" in found.why
    rows["out_spread"][:] = 0.7
    assert clue("over-smoothing", run(modules_at=always(rows), info={"model": "GCN"})) is None


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_a_graph_net_of_few_layers_is_not_oversmoothed(depth):
    rows = chain(["Linear"] * depth, rows={"out_spread": 0.2 ** np.arange(depth)})
    assert clue("over-smoothing", run(modules_at=always(rows), info={"model": "GCN"})) is None


def test_no_start_is_blamed_for_a_healthy_run():
    rows = chain(rows={"in_after": [None, "relu", "relu"], "out_spread": 0.8})
    healthy = run(trained(), modules_at=always(rows), tensors=weights(weight_norm=11.3, twin_units=0.0), info=shapes())
    for name in ("initial-weights-too-large", "initial-weights-too-small", "constant-initial-weights",
                 "depth-without-normalisation", "unclipped-recurrence", "over-smoothing"):  # fmt: skip
        assert clue(name, healthy) is None, name
        assert clue(name, run(falling(N))) is None, name
        assert clue(name, run(flat(N))) is None, name


def test_small_weights_are_no_cause_where_a_normalisation_holds_the_scale():
    small = weights(weight_norm=0.5)
    plain = chain(rows={"in_after": [None, "relu", "relu"]})
    held = chain(["Linear", "LayerNorm", "Linear"], rows={"in_after": [None, "relu", "relu"]})
    found = clue("initial-weights-too-small", run(modules_at=always(plain), tensors=small, info=shapes()))
    assert found is not None
    assert clue("initial-weights-too-small", run(modules_at=always(held), tensors=small, info=shapes())) is None
