"""The data, the labels and the loss: each fault is found, and ordinary data have none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.findings._planted import record, series
from trimtab.findings.causes import EXACT, STRONG, WEAK

from ._records import N, always, chain, clue, flat, jumping, run, shapes, spiked, trained, weights


@pytest.mark.parametrize(
    ("rms", "largest", "found"), [(130, 255, True), (7.8, 16, True), (1e-3, 4e-3, True), (0.3, 1, False),
                                  (1, 4, False), (0.006, 0.5, False), (np.nan, np.nan, False)]
)  # fmt: skip
def test_the_scale_of_the_inputs(rms, largest, found):
    planted = run(modules=chain(rows={"in_rms": [rms, 1, 1], "in_max": [largest, 1, 1]}))
    assert (clue("inputs-unscaled", planted) is not None) == found


@pytest.mark.parametrize("kinds", [("Embedding", "Linear", "Linear")])
def test_what_comes_from_an_embedding_is_no_data(kinds):
    assert clue("inputs-unscaled", run(modules=chain(kinds, rows={"in_rms": 100.0}))) is None


def test_what_has_passed_an_activation_is_no_data():
    assert clue("inputs-unscaled", run(modules=chain(rows={"in_rms": 100.0, "in_after": "relu"}))) is None


@pytest.mark.parametrize(
    ("kind", "mean", "std", "found"),
    [("mse", 2e5, 8e4, True), ("l1", 0, 30, True), ("mse", 1e-4, 1e-4, True), ("mse", 0.5, 1, False),
     ("cross_entropy", 2e5, 8e4, False), ("mse", np.nan, np.nan, False)],
)  # fmt: skip
def test_the_scale_of_the_targets(kind, mean, std, found):
    losses = {"kind": kind, "target_mean": mean, "target_std": std, "output_std": 0.1}
    assert (clue("targets-unscaled", run(losses=losses)) is not None) == found


@pytest.mark.parametrize(
    ("losses", "strength"),
    [
        ({"kind": "bce_logits", "target_min": 1, "target_max": 2}, EXACT),
        ({"kind": "bce", "target_min": -1, "target_max": 1}, EXACT),
        ({"kind": "bce", "target_min": 0, "target_max": 1}, None),
        ({"classes": 10, "target_min": 3, "target_max": 3, "labels_seen": 1}, EXACT),
        ({"classes": 10, "target_min": 0, "target_max": 9, "labels_seen": 10}, None),
        ({"classes": 10, "target_min": 1, "target_max": 9, "labels_seen": 9}, WEAK),
        ({"classes": 10, "target_min": -1, "target_max": 9, "labels_seen": 10}, None),  # an index that is ignored
        ({"kind": "mse", "target_min": 2, "target_max": 2}, EXACT),
        ({"kind": "mse", "target_min": 0, "target_max": 0}, None),  # a residual
        ({"classes": 900, "target_min": 0, "target_max": 0, "labels_seen": 1}, STRONG),  # may be a contrastive loss
        ({"kind": "mse", "target_min": -2, "target_max": 2}, None),
        ({}, None),
    ],
)
def test_labels(losses, strength):
    found = clue("labels-invalid", run(losses=losses))
    assert (found.strength if found else None) == strength


@pytest.mark.parametrize(
    ("classes", "rows", "strength"),
    [
        (64, 32, EXACT),
        (64, 16, STRONG),  # too few were seen: other labels may be rare
        (63, 32, STRONG),  # not what the last layer gives: may be a contrastive loss
    ],
)
def test_labels_that_are_all_0_are_wrong_where_the_last_layer_gives_the_classes(classes, rows, strength):
    losses = {"classes": classes, "target_min": 0, "target_max": 0, "labels_seen": 1, "rows": rows}
    found = clue("labels-invalid", run(losses=losses, modules=chain(), info=shapes()))
    assert found is not None
    assert found.strength == strength


@pytest.mark.parametrize(("classes", "strength"), [(2, STRONG), (3, EXACT)])
def test_of_two_classes_the_first_may_be_the_absence_of_something_rare(classes, strength):
    losses = {"classes": classes, "target_min": 0, "target_max": 0, "labels_seen": 1, "rows": 64}
    info = {"tensors": [{"name": "layers.2.weight", "shape": [classes, 64], "dtype": "float32"}]}
    found = clue("labels-invalid", run(losses=losses, modules=chain(), info=info))
    assert found is not None
    assert found.strength == strength


def test_the_constant_labels_of_a_gan_are_as_they_should_be():
    losses = {"kind": "bce", "target_min": 1, "target_max": 1}
    planted = record(series(flat(N), losses=losses), series(flat(N), optimizer=1, start=0.005, losses=losses))
    assert clue("labels-invalid", planted) is None


@pytest.mark.parametrize("message", ["Target 10 is out of bounds.", "CUDA error: device-side assert triggered"])
def test_a_crash_by_a_label(message):
    events = [{"kind": "exception", "data": {"type": "IndexError", "message": message}}]
    assert clue("labels-invalid", run(events=events), "crash") is not None
    other = [{"kind": "exception", "data": {"type": "IndexError", "message": "list index out of range"}}]
    assert clue("labels-invalid", run(events=other), "crash") is None


@pytest.mark.parametrize(
    ("losses", "strength", "remedy"),
    [
        ({"kind": "mse", "shapes_differ": True}, EXACT,
         "output.squeeze(-1)  # or target.unsqueeze(-1): one shape for both"),
        ({"kind": "cross_entropy", "classes": 1}, EXACT, "loss=bce_logits"),
        ({"kind": "mse", "targets_one_hot": 1.0}, STRONG, "loss=cross_entropy"),
        ({"kind": "l1", "targets_whole": True, "target_values": 10, "target_min": 0, "target_max": 9}, STRONG,
         "loss=cross_entropy"),
        ({"kind": "mse", "targets_whole": True, "target_values": 2, "target_min": 0, "target_max": 1}, STRONG,
         "loss=bce_logits"),
        ({"kind": "mse", "targets_whole": True, "target_values": 6, "target_min": 3, "target_max": 30}, WEAK,
         "loss=cross_entropy"),
        ({"kind": "mse", "targets_whole": True, "target_values": 30, "target_min": 0, "target_max": 900}, None, None),
        ({"kind": "mse", "targets_whole": False, "target_values": 10}, None, None),
        ({"kind": "cross_entropy", "classes": 10, "targets_one_hot": 1.0}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_a_loss_that_does_not_fit(losses, strength, remedy):
    found = clue("loss-mismatch", run(losses=losses))
    assert (found.strength if found else None) == strength
    assert found is None or found.remedies == ((remedy,) if remedy else ())


def test_a_loss_that_was_high_at_once_is_the_batchs_doing():
    found = clue("bad-batch", run(spiked(100, 9.0), grad_norm=jumping(100)), "loss-spike", 100)
    assert found is not None
    assert found.strength == STRONG
    assert "the batch of step 100 was 9 (before: 1" in found.why


def test_a_loss_that_was_high_a_step_later_is_not():
    assert clue("bad-batch", run(spiked(101, 9.0, 20), grad_norm=jumping(100)), "loss-spike", 101) is None
    assert clue("bad-batch", run(flat(N), grad_norm=flat(N)), "loss-spike", 100) is None


def test_an_input_far_beyond_the_others():
    usual, outlier = chain(), chain(rows={"in_max": 900.0})
    planted = run(modules_at=always(usual) | {160: outlier})
    found = clue("bad-batch", planted, "loss-spike", 160)
    assert found is not None
    assert found.strength == EXACT
    assert "of step 160 is 900, where others reach 4" in found.why
    assert clue("bad-batch", run(modules_at=always(usual)), "loss-spike", 160) is None


@pytest.mark.parametrize(("sorted_by_label", "found"), [(True, True), (False, False)])
def test_batches_of_one_class_are_not_shuffled(sorted_by_label, found):
    classes = np.arange(13) % 10
    low, high = (classes, classes) if sorted_by_label else (np.zeros(13), np.full(13, 9))
    losses = {"classes": 10, "labels_seen": 10, "target_min": low, "target_max": high}
    assert (clue("bad-batch", run(losses=losses), "oscillating-loss") is not None) == found


def test_a_nan_with_nothing_before_it_points_to_its_batch():
    found = clue("bad-batch", run(), "non-finite", 40)
    assert found is not None
    assert found.strength == WEAK
    assert "the batch of step 40" in found.why
    grew = run(grad_norm=np.where(np.arange(N) < 30, 1.0, 1e5))
    assert clue("bad-batch", grew, "non-finite", 40) is None


def test_inputs_that_held_a_nan():
    forward = {
        "op": "AddmmBackward0",
        "what": "its input is already not finite",
        "input": {"nonfinite": 3, "entries": 64},
    }
    events = [{"kind": "nonfinite", "step": 40, "data": {"forward": forward}}]
    found = clue("bad-batch", run(events=events), "non-finite", 40)
    assert found is not None
    assert found.strength == STRONG
    assert "(3 of 64 entries not finite)" in found.why


@pytest.mark.parametrize(
    ("bad", "strength"),
    [
        (["dense/kernel"], STRONG),
        (["dense/bias", "dense/kernel"], WEAK),  # what came back to the layer was not finite itself
        (["head/kernel"], WEAK),  # its input is no data
    ],
)
def test_a_first_weight_that_alone_has_no_finite_gradient_was_given_a_nan(bad, strength):
    names = {"dense/kernel": [8, 16], "dense/bias": [16], "head/kernel": [16, 2], "head/bias": [2]}
    info = {"tensors": [{"name": name, "shape": shape, "dtype": "float32"} for name, shape in names.items()]}
    events = [{"kind": "nonfinite", "step": 40, "data": {"tensors": bad, "loss_finite": True}}]
    found = clue("bad-batch", run(trained(), events=events, info=info), "non-finite", 40)
    assert found is not None
    assert found.strength == strength


@pytest.mark.parametrize(("rows", "noise", "found"), [(4, 0.6, True), (4, 0.05, False), (256, 0.6, False)])
def test_few_rows_and_a_loss_that_swings(rows, noise, found):
    planted = run(flat(N, noise=noise), losses={"rows": rows})
    assert (clue("batch-too-small", planted, "oscillating-loss") is not None) == found


def test_a_stall_at_chance_of_weights_that_move():
    found = clue("uninformative-data", run(tensors=weights(2e-3)))
    assert found is not None
    assert found.strength == WEAK
    assert clue("uninformative-data", run()) is None  # nothing was measured that would exclude another cause
    assert clue("uninformative-data", run(tensors=weights(1e-7))) is None
    assert clue("uninformative-data", run(trained(), tensors=weights(2e-3))) is None


@pytest.mark.parametrize(("spread", "said"), [(1e-3, True), (0.3, False)])
def test_outputs_that_are_alike_are_at_chance_however_well_that_is_known(spread, said):
    losses = {"kind": "mse", "output_spread": spread, "output_std": 1.0, "target_std": 1.0, "rows": 64}
    planted = run(flat(N, level=0.93), chance=1.0, tensors=weights(2e-3), losses=losses)
    assert (clue("uninformative-data", planted) is not None) == said


def test_inputs_that_are_all_the_same():
    found = clue("uninformative-data", run(modules_at=always(chain(rows={"in_spread": [0.0, 0.5, 0.5]}))))
    assert found is not None
    assert found.strength == EXACT
    single = run(modules_at=always(chain(rows={"in_spread": 0.0})), losses={"rows": 1})
    assert clue("uninformative-data", single) is None
    assert clue("uninformative-data", run(modules_at=always(chain()))) is None


def test_validation_that_never_leaves_chance():
    never, later = ([2.0, 9.0], [2.4, 2.5]), ([2.0, 9.0], [2.4, 1.1])
    found = clue("uninformative-data", run(trained(), metrics={"val_loss": never}), "overfitting")
    assert found is not None
    assert found.strength == STRONG
    assert clue("uninformative-data", run(trained(), metrics={"val_loss": later}), "overfitting") is None


def test_no_data_are_blamed_for_a_healthy_run():
    losses = {"classes": 10, "labels_seen": 10, "target_min": 0, "target_max": 9, "rows_sum_to_one": 0.0}
    healthy = run(trained(), modules_at=always(chain()), tensors=weights(), losses=losses)
    for name in ("inputs-unscaled", "targets-unscaled", "labels-invalid", "bad-batch", "batch-too-small",
                 "uninformative-data", "loss-mismatch"):  # fmt: skip
        assert clue(name, healthy) is None, name
        assert clue(name, run(trained())) is None, name
