"""The facts in NumPy are the numbers that the PyTorch adapter reads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from trimtab.frameworks import _facts
from trimtab.frameworks._facts import _activations, _arrays
from trimtab.vitals import TABLES

torch = pytest.importorskip("torch")
from trimtab.frameworks.torch import _losses, _modules, _norms, _samples, _scale, _twins  # noqa: E402

SOME = settings(max_examples=60, deadline=None)
# Entries repeat, are exactly 0 or 1, or are of very different sizes.
ENTRIES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 6.0]), st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
)
ODD = st.one_of(ENTRIES, st.sampled_from([math.nan, math.inf, -math.inf]))
SHAPES = array_shapes(min_dims=1, max_dims=4, max_side=6)
VALUE_KINDS = ("mse", "l1", "smooth_l1", "huber", "bce", "bce_logits", "kl_div", "cross_entropy", "nll")


def floats(shape: Any = SHAPES, entries: Any = ENTRIES, dtype: Any = np.float32) -> Any:
    return arrays(dtype, shape, elements=entries)


def same(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float = 2e-5, *given: np.ndarray) -> None:
    """The same columns with the same numbers, but for the rounding of torch's float32 of what was `given`."""
    rounding = 1e-6 * max((1.0, *(float(abs(x).max()) for x in given)))
    theirs = {name: plain(value) for name, value in theirs.items() if value is not None}
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        close = value if isinstance(value, str) else pytest.approx(value, rel=tolerance, abs=rounding, nan_ok=True)
        assert ours[name] == close, name


def plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


def columns(table: str) -> set[str]:
    return {quantity.name for quantity in TABLES[table].quantities}


# Activations


@SOME
@given(floats(), st.data())
def test_the_scale_of_an_activation(x, data):
    axis = data.draw(st.integers(0, x.ndim - 1))
    same(_facts.scale(x, axis), _scale.measure(torch.from_numpy(x), axis), 1e-4, x)


@SOME
@given(floats(entries=ODD))
def test_the_scale_of_what_is_not_finite(x):
    theirs = _scale.measure(torch.from_numpy(x), x.ndim - 1)
    ours = _facts.scale(x)
    assert ours.keys() == theirs.keys()
    for name in ("max", "dead"):
        if name in ours:
            assert ours[name] == pytest.approx(float(theirs[name]), nan_ok=True)
    assert math.isfinite(ours["rms"]) == bool(np.isfinite(x).all())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_scale_of_other_formats(dtype):
    torch.manual_seed(0)
    tensor = torch.randn(40, 7).to(getattr(torch, dtype))
    if dtype == "bfloat16":
        array = tensor.float().numpy().astype(pytest.importorskip("ml_dtypes").bfloat16)
    else:
        array = tensor.numpy()
    ours = {name.removeprefix("out_"): value for name, value in _facts.output_facts(array).items()}
    same({name: ours[name] for name in ("rms", "max", "spread", "dead")}, _scale.measure(tensor, 1), 1e-3)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_numbers_whose_squares_are_out_of_range(size):
    x = np.full((8, 3), size, dtype=np.float32)
    assert _facts.output_facts(x)["out_rms"] == pytest.approx(size, rel=1e-5)
    assert _facts.norm(x) == pytest.approx(_norms.careful_norm(torch.from_numpy(x)))


def test_rows_that_are_all_the_same_have_no_spread():
    x = np.tile(np.float32([0.1, 0.2, 0.3]), (1000, 1))
    assert _facts.scale(x)["spread"] == 0.0


def test_features_are_on_the_last_axis_unless_said():
    x = np.zeros((4, 5, 5, 3), dtype=np.float32)
    x[..., 1] = np.random.default_rng(0).normal(size=(4, 5, 5))
    assert _facts.scale(x)["dead"] == pytest.approx(2 / 3)
    same(_facts.scale(np.moveaxis(x, -1, 1), axis=1), _facts.scale(x))


def test_large_arrays_are_thinned_at_the_same_places():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 50, 30)).astype(np.float32) * rng.normal(size=(700, 1, 1)).astype(np.float32)
    for axis in range(3):
        assert _arrays.thin(x.shape, axis, 1 << 18) == _scale.thin(torch.Size(x.shape), axis, 1 << 18)
        same(_facts.scale(x, axis), _scale.measure(torch.from_numpy(x), axis), 1e-4)


@SOME
@given(floats(entries=st.one_of(ENTRIES, st.floats(-1, 1, width=32))), st.sampled_from(sorted(_modules._SATURATED)))
def test_saturated_and_zero_entries(y, name):
    theirs = _modules._SATURATED[name](torch.from_numpy(y)).float().mean()
    facts = _facts.output_facts(y, activation=name)
    assert facts["out_saturated"] == pytest.approx(float(theirs))
    assert _facts.input_facts(y, after=name, unchanged=True)["in_saturated"] == facts["out_saturated"]
    assert facts["out_zeros"] == pytest.approx(float((y == 0).mean()))
    assert facts["elements"] == y.size


def test_what_an_input_has_passed():
    x = np.full((4, 2), 0.999, dtype=np.float32)
    assert _facts.input_facts(x, after="tanh")["in_after"] == "tanh"
    assert "in_saturated" not in _facts.input_facts(x, after="tanh")
    assert "in_after" not in _facts.input_facts(x)
    assert "out_saturated" not in _facts.output_facts(x, activation="relu")


def test_the_same_activations_saturate():
    assert _activations._SATURATED.keys() == _modules._SATURATED.keys()


@SOME
@given(floats())
def test_the_gradient_by_an_output(g):
    tensor = torch.from_numpy(g)
    same(_facts.gradient_facts(g), {"grad_rms": _scale.rms(tensor), "grad_max": _scale.largest(tensor)})


@pytest.mark.parametrize(
    "x", [np.arange(6).reshape(2, 3), np.float32(1.0), np.zeros((0, 3), np.float32), np.array("a")]
)
def test_what_holds_no_floats_or_none_at_all_has_no_facts(x):
    assert _facts.input_facts(x) == _facts.output_facts(x) == {}


def test_every_fact_is_a_column():
    x = np.ones((4, 2), dtype=np.float32)
    facts = _facts.input_facts(x, after="tanh", unchanged=True) | _facts.output_facts(x, activation="tanh")
    assert (facts | _facts.gradient_facts(x)).keys() <= columns("modules")
    assert (_facts.before_step(x, x) | _facts.step_facts(x, x, x)).keys() <= columns("tensors")
    for kind, targets in (("cross_entropy", np.zeros(4, int)), ("cross_entropy", x), ("mse", x)):
        assert _facts.loss_facts(kind, x, targets, {}).keys() <= columns("losses")


# Losses


def read_by_torch(kind: str, outputs: np.ndarray, targets: np.ndarray, reader: Any) -> dict[str, Any]:
    row = reader._read(kind, torch.from_numpy(outputs), torch.from_numpy(targets), torch.tensor(0.0))
    return {name: fact for name, fact in row.items() if name != "value"}


def reader() -> Any:
    return _losses.LossReader(lambda f: f, lambda: True, lambda *args: None)


@SOME
@given(st.data(), st.sampled_from(VALUE_KINDS))
def test_values(data, kind):
    shape = data.draw(SHAPES)
    theirs, seen = reader(), {}
    for _ in range(2):
        outputs, targets = data.draw(floats(shape)), data.draw(floats(shape))
        read = read_by_torch(kind, outputs, targets, theirs)
        ours = _facts.loss_facts(kind, outputs, targets, seen, axis=1)
        if kind == "nll" and outputs.ndim > 1:  # rows of shares, of which torch has no chance level
            ours = {name: fact for name, fact in ours.items() if name not in ("chance", "classes")}
        # A correlation of nearly constant numbers is one of rounding errors.
        if min(outputs.std(), targets.std()) < 1e-3 * max(1.0, abs(outputs).max(), abs(targets).max()):
            ours.pop("correlation", None)
            read.pop("correlation", None)
        same(ours, read, 1e-4, outputs, targets)


@SOME
@given(st.data(), st.sampled_from(["mse", "bce"]))
def test_values_that_are_not_finite(data, kind):
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=5))
    outputs, targets = data.draw(floats(shape, ODD)), data.draw(floats(shape, ODD))
    theirs, ours = (
        read_by_torch(kind, outputs, targets, reader()),
        _facts.loss_facts(kind, outputs, targets, {}, axis=1),
    )
    assert ours.keys() - {"correlation"} == theirs.keys() - {"correlation"}
    for name in ("target_min", "target_max", "target_values", "targets_whole", "accuracy", "output_min", "output_max"):
        if name in theirs:
            assert ours[name] == pytest.approx(theirs[name], nan_ok=True), name


@SOME
@given(st.data(), st.sampled_from(["cross_entropy", "nll"]), array_shapes(min_dims=1, max_dims=3, max_side=5))
def test_labels(data, kind, shape):
    classes = data.draw(st.integers(1, 6))
    theirs, seen = reader(), {}
    for _ in range(2):
        outputs = data.draw(floats((shape[0], classes, *shape[1:])))
        labels = data.draw(arrays(np.int64, shape, elements=st.sampled_from([-100, *range(classes)])))
        read = read_by_torch(kind, outputs, labels, theirs)
        same(_facts.loss_facts(kind, outputs, labels, seen, axis=1), read, 1e-4, outputs)


@SOME
@given(st.data(), array_shapes(min_dims=1, max_dims=3, max_side=5))
def test_classes_on_the_last_axis(data, shape):
    outputs = data.draw(floats((shape[0], 4, *shape[1:])))
    labels = data.draw(arrays(np.int32, shape, elements=st.integers(0, 3)))
    last = _facts.loss_facts("cross_entropy", np.moveaxis(outputs, 1, -1), labels, {})
    same(last, _facts.loss_facts("cross_entropy", outputs, labels, {}, axis=1))
    as_floats = labels[..., None].astype(np.float32)
    assert last == _facts.loss_facts("cross_entropy", np.moveaxis(outputs, 1, -1), as_floats, {}, labels=True)


def test_one_row_of_outputs():
    outputs, label = np.float32([0.1, 3.0, 0.2]), np.array(1)
    same(
        _facts.loss_facts("cross_entropy", outputs, label, {}), read_by_torch("cross_entropy", outputs, label, reader())
    )


def test_labels_beyond_the_classes_are_seen_in_the_bounds():
    facts = _facts.loss_facts("cross_entropy", np.zeros((3, 2), np.float32), np.array([0, 1, 7]), {})
    assert (facts["target_max"], facts["labels_seen"], facts["classes"]) == (7.0, 2, 2)


def test_labels_that_do_not_count():
    outputs, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 255])
    facts = _facts.loss_facts("cross_entropy", outputs, labels, {}, ignored=255)
    assert (facts["target_max"], facts["accuracy"]) == (1.0, 1.0)


def test_one_hot_targets_have_the_chance_level_of_their_labels():
    rng = np.random.default_rng(0)
    labels, outputs = rng.integers(0, 3, 50), rng.normal(size=(50, 3)).astype(np.float32)
    hot = _facts.loss_facts("cross_entropy", outputs, np.eye(3, dtype=np.float32)[labels], {})
    plain = _facts.loss_facts("cross_entropy", outputs, labels, {})
    for name in ("chance", "classes", "accuracy", "rows"):
        assert hot[name] == pytest.approx(plain[name])
    assert hot["targets_one_hot"] == 1.0


def test_many_classes_have_no_chance_level():
    facts = _facts.loss_facts("cross_entropy", np.zeros((2, 200_001), np.float32), np.array([0, 5]), {})
    assert "chance" not in facts


@pytest.mark.parametrize(
    ("outputs", "targets", "differ"),
    [
        ((4, 1), (4,), True),
        ((4, 1), (4, 1), False),
        ((4, 3), (3,), False),
        ((4, 1), (1, 4), True),
        ((4, 3), (5,), False),
    ],
)
def test_shapes_that_were_both_broadcast(outputs, targets, differ):
    facts = _facts.loss_facts("mse", np.zeros(outputs, np.float32), np.zeros(targets, np.float32), {})
    assert facts["shapes_differ"] is differ


def test_probabilities_where_scores_may_be_expected():
    scores = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    labels = np.arange(20) % 4
    assert _facts.loss_facts("cross_entropy", shares, labels, {})["rows_sum_to_one"] == 1.0
    assert _facts.loss_facts("cross_entropy", scores, labels, {})["rows_sum_to_one"] == 0.0


def test_large_batches_are_thinned_at_the_same_places():
    rng = np.random.default_rng(0)
    outputs, targets = (rng.normal(size=(300_000, 5)).astype(np.float32) for _ in range(2))
    ours = _facts.loss_facts("mse", outputs, targets, {}, axis=1)
    same(ours, read_by_torch("mse", outputs, targets, reader()), 1e-4)


@pytest.mark.parametrize("outputs", [np.zeros((0, 3), np.float32), np.zeros((3, 2), np.int64)])
def test_odd_outputs_are_no_error(outputs):
    facts = _facts.loss_facts("mse", outputs, np.zeros(len(outputs)), {})
    assert "output_min" not in facts


def test_targets_gather_as_in_torch():
    rng = np.random.default_rng(0)
    ours, theirs = _facts.Targets(), _losses.Targets()
    for scale in (1.0, 1e3, 1e-3):
        values = rng.normal(scale, size=37).astype(np.float32)
        ours.add_values(values)
        theirs.add_values(torch.from_numpy(values))
    assert (ours.mean, ours.variance, ours.n) == pytest.approx((theirs.mean, theirs.variance, theirs.n))
    assert math.isnan(_facts.Targets().variance)
    assert math.isnan(_facts.Targets().entropy())


# Weights and updates


@SOME
@given(floats(entries=ODD), floats(entries=ENTRIES))
def test_before_the_step(grad, weight):
    ours = _facts.before_step(weight, grad, unit_axis=0)
    g, w = torch.from_numpy(grad), torch.from_numpy(weight)
    sampler = _samples.Sampler()
    theirs = {name: values[0] for name, values in sampler.before([w], [g]).items()}
    assert ours.pop("twin_units") == theirs.pop("twin_units")
    same(ours, theirs)


def stepped(weight: np.ndarray, grad: np.ndarray, dtype: Any, lr: float) -> tuple[Any, ...]:
    """torch's columns of one step of Adam, the weights after it, and v_hat."""
    p = torch.nn.Parameter(torch.from_numpy(weight).to(dtype))
    p.grad = torch.from_numpy(grad).to(dtype)
    optimizer, sampler = torch.optim.Adam([p], lr=lr), _samples.Sampler()
    sampler.before([p], [p.grad])
    before, gradient = p.detach().clone(), p.grad.clone()
    optimizer.step()
    theirs = {name: values[0] for name, values in sampler.after(optimizer, [p]).items()}
    arrays_ = (x.detach().float().numpy() for x in (before, p, gradient, optimizer.state[p]["exp_avg_sq"] / 0.001))
    return theirs, *arrays_


@SOME
@given(st.data(), st.sampled_from(["float32", "bfloat16"]), st.sampled_from([1e-1, 1e-4, 1e-7]))
def test_the_step(data, dtype, lr):
    shape = data.draw(SHAPES)
    weight, grad = data.draw(floats(shape)), data.draw(floats(shape))
    theirs, before, after, gradient, v_hat = stepped(weight, grad, getattr(torch, dtype), lr)
    ours = _facts.step_facts(before, after, gradient)
    narrow = dtype == "bfloat16"  # torch takes the difference, and holds v, in the weight's format
    assert ours["lost_updates"] == theirs["lost_updates"]
    assert ours["update_norm"] == pytest.approx(theirs["update_norm"], rel=1e-2 if narrow else 1e-5)
    ratio = _facts.g2_over_v(gradient, v_hat)
    assert ratio == pytest.approx(theirs["g2_over_v"], rel=1e-2 if narrow else 1e-5, abs=1e-6)


def test_a_step_without_a_dense_gradient_has_lost_nothing_that_is_known():
    w = np.ones((2, 2), np.float32)
    assert _facts.step_facts(w, w, None) == {"update_norm": 0.0, "lost_updates": None}
    assert _facts.step_facts(w, w, np.ones((3, 2)))["lost_updates"] is None
    assert _facts.step_facts(w, w, np.zeros((2, 2)))["lost_updates"] is None


def test_no_ratio_without_a_second_moment_of_the_same_shape():
    assert _facts.g2_over_v(np.ones(3), np.ones(4)) is None
    assert _facts.g2_over_v(np.ones(3, int), np.ones(3)) is None


TWINS = {
    "random": lambda rng: rng.normal(size=(300, 64)),
    "one input": lambda rng: rng.normal(size=(64, 1)),
    "constant": lambda rng: np.full((65, 1000), 0.1),
    "zero": lambda rng: np.zeros((8, 8)),
    "identity": lambda rng: np.eye(200),
    "half twins": lambda rng: np.repeat(rng.normal(size=(20, 30)), 2, 0)[rng.permutation(40)][:31],
    "one unit": lambda rng: rng.normal(size=(1, 9)),
    "long rows": lambda rng: np.repeat(rng.normal(size=(3, 300_000)), 2, 0),
    "nearly twins": lambda rng: 1 + 1e-4 * rng.normal(size=(20, 50)),
    "images": lambda rng: np.repeat(rng.normal(size=(8, 3, 5, 5)), 2, 0),
    "permuted": lambda rng: np.stack([rng.permutation(50) for _ in range(60)]),
}


@pytest.mark.parametrize("name", TWINS)
def test_twin_units(name):
    weight = TWINS[name](np.random.default_rng(0)).astype(np.float32)
    theirs = _twins.TwinFinder().share(torch.from_numpy(weight), float(np.linalg.norm(weight)))
    assert _facts.twin_units(weight, 0) == theirs
    assert _facts.twin_units(np.moveaxis(weight, 0, -1)) == theirs


@pytest.mark.parametrize(
    "weight", [np.ones(5), np.ones((2, (1 << 20) + 1)), np.full((3, 3), np.nan), np.ones((2, 2), int)]
)
def test_no_units_are_compared_where_there_are_none(weight):
    assert _facts.twin_units(weight, 0) is None


def test_complex_weights():
    g = torch.complex(torch.randn(3, 4), torch.randn(3, 4))
    ours = _facts.before_step(g.numpy(), g.numpy(), 0)
    theirs = {name: values[0] for name, values in _samples.Sampler().before([g], [g]).items()}
    same({k: v for k, v in ours.items() if v is not None}, theirs)
